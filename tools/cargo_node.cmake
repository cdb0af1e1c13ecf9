# ecps_cargo_node(<executable>...): builds this ROS package's nodes with cargo and installs each as
# lib/<package>/<executable>.
#
# r2r rebuilds when its environment differs by one byte, and colcon gives every package an environment of its own; so each
# gets the same one here (the messages' prefix, then the underlay), one target folder, and no --package, which would change
# the features of crates that r2r shares: r2r is compiled once.
set(ECPS_ROOT "${CMAKE_CURRENT_LIST_DIR}/..")
get_filename_component(ECPS_ROOT "${ECPS_ROOT}" ABSOLUTE)

function(ecps_cargo_node)
  find_package(ament_cmake REQUIRED)
  find_program(CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" REQUIRED)
  set(messages "")
  set(underlay "")
  string(REPLACE ":" ";" seen "$ENV{AMENT_PREFIX_PATH}")
  foreach(prefix IN LISTS seen)
    file(GLOB ours "${prefix}/share/ament_index/resource_index/packages/ecps*")
    if(EXISTS "${prefix}/share/ament_index/resource_index/packages/ecps_msgs")
      set(messages "${prefix}")
    elseif(NOT ours)
      string(APPEND underlay ":${prefix}")
    endif()
  endforeach()
  if(NOT messages)
    message(FATAL_ERROR "ecps_msgs is not in AMENT_PREFIX_PATH: build the folder msg/ too, "
      "colcon build --base-paths . msg ros_pkgs")
  endif()
  set(prefixes "${messages}${underlay}")
  execute_process(COMMAND "${ECPS_ROOT}/tools/idl_filter" OUTPUT_VARIABLE filter
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

  set(profile "debug")
  set(release "")
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    set(profile "release")
    set(release "--release")
  endif()
  foreach(executable IN LISTS ARGN)
    add_custom_target(${executable} ALL
      COMMAND "${CMAKE_COMMAND}" -E env "AMENT_PREFIX_PATH=${prefixes}" "CMAKE_PREFIX_PATH=${prefixes}"
        "IDL_PACKAGE_FILTER=${filter}" "${CARGO}" build --quiet ${release} --bin ${executable}
      WORKING_DIRECTORY "${ECPS_ROOT}" VERBATIM)
    install(PROGRAMS "${ECPS_ROOT}/target/${profile}/${executable}" DESTINATION lib/${PROJECT_NAME})
  endforeach()
  ament_package()
endfunction()

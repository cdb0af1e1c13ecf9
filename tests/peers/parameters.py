"""Asks a node for its parameters over the six services, as `ros2 param` and rqt_reconfigure do."""

from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    GetParameterTypes,
    ListParameters,
    SetParameters,
    SetParametersAtomically,
)

from peer import expect, expect_equal, expect_words, run


def scenario(peer):
    def ask(service_type, name, **request):
        return peer.call(peer.client(service_type, f"/eap_executor/{name}"), service_type.Request(**request))

    names = list(ask(ListParameters, "list_parameters").result.names)
    for name in ["use_sim_time", "profile", "max_linear_speed", "workspace", "require_odometry"]:
        expect(name in names, f"'{name}' is not among {names}")
    below = ask(ListParameters, "list_parameters", prefixes=["max_linear_speed"]).result
    expect_equal((list(below.names), list(below.prefixes)), (["max_linear_speed"], []), "the list below a name")

    speed, base = ask(DescribeParameters, "describe_parameters", names=["max_linear_speed", "base"]).descriptors
    expect_equal((speed.type, speed.read_only), (ParameterType.PARAMETER_DOUBLE, True), "type of max_linear_speed")
    expect_words(speed.description, "Highest speed", "m/s")
    bounds = speed.floating_point_range[0]
    expect_equal((bounds.from_value, bounds.to_value, bounds.step), (0.01, 10.0, 0.0), "range of max_linear_speed")
    expect_words(base.additional_constraints, "differential", "omnidirectional")
    described = ask(DescribeParameters, "describe_parameters", names=names).descriptors
    bare = [d.name for d in described if not d.description or d.type == ParameterType.PARAMETER_NOT_SET]
    expect_equal(bare, [], "parameters without description or type")

    values = ask(GetParameters, "get_parameters", names=["max_linear_speed", "robot", "nothing"]).values
    expect_equal(values[0].double_value, 0.6, "the speed from the command line")
    expect_equal((values[1].type, values[1].string_value), (ParameterType.PARAMETER_STRING, ""), "the robot's name")
    expect_equal(values[2].type, ParameterType.PARAMETER_NOT_SET, "type of an undeclared parameter")
    types = list(ask(GetParameterTypes, "get_parameter_types", names=["workspace", "base", "nothing"]).types)
    array, string, none = ParameterType.PARAMETER_DOUBLE_ARRAY, ParameterType.PARAMETER_STRING, ParameterType.PARAMETER_NOT_SET
    expect_equal(types, [array, string, none], "types")

    def double(name, value):
        return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))

    results = ask(
        SetParameters, "set_parameters", parameters=[double("max_linear_speed", 0.5), double("max_sped", 0.5)]
    ).results
    expect_equal([result.successful for result in results], [False, False], "the outcome of sets")
    expect_words(results[0].reason, "max_linear_speed", "read-only")
    expect_words(results[1].reason, "max_sped", "not declared")
    result = ask(SetParametersAtomically, "set_parameters_atomically", parameters=[double("base", 1.0)]).result
    expect(not result.successful, "a read-only parameter was set")
    expect_words(result.reason, "base", "read-only")
    values = ask(GetParameters, "get_parameters", names=["max_linear_speed", "base"]).values
    expect_equal((values[0].double_value, values[1].string_value), (0.6, "differential"), "values after refused sets")


run(scenario)

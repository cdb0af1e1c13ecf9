//! Where a package's executables and shared files are: in an ament prefix, or in the source tree that `ecps` was built in.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a package or an executable of it is not there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageError {
    /// No such package, or it is not built.
    #[error("the package `{package}` has no executable `{executable}`: looked for {}", list(looked_for))]
    NoExecutable {
        /// The package.
        package: String,
        /// The executable.
        executable: String,
        /// The files it could have been.
        looked_for: Vec<PathBuf>,
    },
    /// No share folder.
    #[error("the package `{package}` is not found: looked for {}", list(looked_for))]
    NoShare {
        /// The package.
        package: String,
        /// The folders it could have been.
        looked_for: Vec<PathBuf>,
    },
    /// A name with a slash, or nothing.
    #[error("`{0}` cannot be the name of a package or an executable")]
    BadName(String),
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "it nowhere, since AMENT_PREFIX_PATH is empty and this `ecps` is not in its source tree".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A source tree of this project with a folder of built executables.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SourceTree {
    root: PathBuf,
    built: PathBuf,
}

/// Where packages are looked for. What was built in the source tree comes before what is installed, so that a
/// developer starts what was just built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packages {
    prefixes: Vec<PathBuf>,
    source: Option<SourceTree>,
}

impl Packages {
    /// For the program `executable`, with the values of `AMENT_PREFIX_PATH` and `ECPS_ROOT`.
    ///
    /// The source tree is `ecps_root` where given, else the next folder above `executable` whose package.xml names `ecps`.
    pub fn discover(executable: &Path, ament_prefix_path: Option<&str>, ecps_root: Option<&Path>) -> Self {
        let root = match ecps_root {
            Some(root) => Some(root.to_owned()),
            None => executable.ancestors().skip(1).find(|folder| is_root(folder)).map(Path::to_owned),
        };
        // Test and example programs lie one folder below the others.
        let built = executable.parent().map(|folder| {
            if folder.ends_with("deps") || folder.ends_with("examples") {
                folder.parent().unwrap_or(folder)
            } else {
                folder
            }
        });
        let source = root.zip(built).map(|(root, built)| SourceTree { root, built: built.to_owned() });
        let prefixes = ament_prefix_path.unwrap_or_default().split(':').filter(|p| !p.is_empty());
        Self { prefixes: prefixes.map(PathBuf::from).collect(), source }
    }

    /// The program `executable` of `package`: `<prefix>/lib/<package>/<executable>`.
    ///
    /// # Errors
    /// [`PackageError`] naming where it was looked for.
    pub fn executable(&self, package: &str, executable: &str) -> Result<PathBuf, PackageError> {
        check_name(package)?;
        check_name(executable)?;
        let built = self.source.as_ref().filter(|source| source.root.join("ros_pkgs").join(package).is_dir());
        let mut looked_for: Vec<PathBuf> = built.map(|source| source.built.join(executable)).into_iter().collect();
        looked_for.extend(self.prefixes.iter().map(|prefix| prefix.join("lib").join(package).join(executable)));
        match looked_for.iter().find(|path| path.is_file()) {
            Some(path) => Ok(path.clone()),
            None => Err(PackageError::NoExecutable {
                package: package.to_owned(),
                executable: executable.to_owned(),
                looked_for,
            }),
        }
    }

    /// The shared files of `package`: `<prefix>/share/<package>`, and for `ecps` the source tree itself.
    ///
    /// # Errors
    /// [`PackageError`] naming where it was looked for.
    pub fn share(&self, package: &str) -> Result<PathBuf, PackageError> {
        check_name(package)?;
        if let Some(source) = self.source.as_ref().filter(|_| package == "ecps") {
            return Ok(source.root.clone());
        }
        let looked_for: Vec<PathBuf> = self.prefixes.iter().map(|prefix| prefix.join("share").join(package)).collect();
        match looked_for.iter().find(|path| path.is_dir()) {
            Some(path) => Ok(path.clone()),
            None => Err(PackageError::NoShare { package: package.to_owned(), looked_for }),
        }
    }
}

fn check_name(name: &str) -> Result<(), PackageError> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    if plain { Ok(()) } else { Err(PackageError::BadName(name.to_owned())) }
}

fn is_root(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("package.xml")).unwrap_or_default();
    let Ok(manifest) = roxmltree::Document::parse(&manifest) else { return false };
    let name = manifest.root_element().children().find(|node| node.has_tag_name("name"));
    name.and_then(|name| name.text()).is_some_and(|name| name.trim() == "ecps")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_source_tree_comes_first_and_prefixes_in_their_order() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |path: &str| scratch.path().join(path);
        let file = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        file("tree/package.xml", "<package format=\"3\"><name>ecps</name></package>");
        file("tree/ros_pkgs/ecps_memory/package.xml", "<package><name>ecps_memory</name></package>");
        file("tree/target/debug/mep_server", "");
        file("tree/target/debug/rviz2", "");
        file("a/lib/ecps_memory/mep_server", "");
        file("a/lib/rviz2/rviz2", "");
        file("b/lib/rviz2/rviz2", "");
        file("b/share/ecps/x", "");
        let prefixes = format!("{}::{}", at("a").display(), at("b").display());

        let in_tree = Packages::discover(&at("tree/target/debug/ecps"), Some(&prefixes), None);
        assert_eq!(in_tree.executable("ecps_memory", "mep_server").unwrap(), at("tree/target/debug/mep_server"));
        assert_eq!(in_tree.executable("rviz2", "rviz2").unwrap(), at("a/lib/rviz2/rviz2"), "not what lies beside");
        assert_eq!(in_tree.share("ecps").unwrap(), at("tree"));
        let from_test = Packages::discover(&at("tree/target/debug/deps/demo-1"), None, None);
        assert_eq!(from_test, Packages::discover(&at("tree/target/debug/ecps"), None, None));

        let installed = Packages::discover(&at("a/lib/ecps_cli/ecps"), Some(&prefixes), None);
        assert_eq!(installed.executable("ecps_memory", "mep_server").unwrap(), at("a/lib/ecps_memory/mep_server"));
        assert_eq!(installed.share("ecps").unwrap(), at("b/share/ecps"));
        let error = installed.executable("ecps_memory", "nothing").unwrap_err().to_string();
        assert!(error.contains("a/lib/ecps_memory/nothing, ") && error.contains("b/lib/"), "{error}");
        assert!(installed.share("../x").is_err());

        let told = Packages::discover(&at("elsewhere/debug/ecps"), None, Some(&at("tree")));
        assert_eq!(told.share("ecps").unwrap(), at("tree"));
        assert!(Packages::default().share("ecps").unwrap_err().to_string().contains("AMENT_PREFIX_PATH is empty"));
    }
}

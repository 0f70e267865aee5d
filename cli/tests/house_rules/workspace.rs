//! What the rules look at: the workspace's manifests, sources and documents, read once from disk.
//!
//! Not here: any rule.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

/// One dependency that a crate of ours declares, of whatever kind (normal, build, dev).
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    /// The declaring crate, without the `augur-` prefix.
    pub(crate) from: String,
    /// The crate depended on; without the prefix if it is ours.
    pub(crate) to: String,
    pub(crate) ours: bool,
    pub(crate) optional: bool,
    pub(crate) default_features: bool,
    pub(crate) features: Vec<String>,
}

/// The repository as the rules see it. Paths are relative to its root, with `/`.
pub(crate) struct Workspace {
    root: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) manifests: Vec<(String, String)>,
    pub(crate) sources: Vec<(String, String)>,
    pub(crate) documents: Vec<(String, String)>,
}

impl Workspace {
    pub(crate) fn load() -> Self {
        let metadata = MetadataCommand::new()
            .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .no_deps()
            .exec()
            .expect("cargo metadata describes the workspace");
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let mut workspace = Self {
            root,
            dependencies: Vec::new(),
            manifests: Vec::new(),
            sources: Vec::new(),
            documents: Vec::new(),
        };
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            let folder = workspace.relative(folder.as_std_path());
            let manifest = format!("{folder}/Cargo.toml");
            workspace.manifests.push((manifest.clone(), workspace.read(&manifest)));
            workspace.collect(&folder, "rs");
            for dependency in &package.dependencies {
                workspace.dependencies.push(Dependency {
                    from: short(&package.name).to_owned(),
                    to: short(&dependency.name).to_owned(),
                    ours: dependency.path.is_some(),
                    optional: dependency.optional,
                    default_features: dependency.uses_default_features,
                    features: dependency.features.clone(),
                });
            }
        }
        for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
            workspace.documents.push((name.to_owned(), workspace.read(name)));
        }
        workspace.collect("docs", "md");
        workspace
    }

    /// The text of a file that must exist.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).expect("members lie in the workspace");
        path.to_string_lossy().replace('\\', "/")
    }

    /// Adds every file below `folder` that ends in `extension`, in a stable order.
    fn collect(&mut self, folder: &str, extension: &str) {
        let entries = fs::read_dir(self.root.join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules", "__pycache__"].contains(&&*name) {
                    self.collect(&self.relative(&path), extension);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = self.relative(&path);
                let file = (relative.clone(), self.read(&relative));
                if extension == "rs" { self.sources.push(file) } else { self.documents.push(file) }
            }
        }
    }
}

fn short(package: &str) -> &str {
    package.strip_prefix("augur-").unwrap_or(package)
}

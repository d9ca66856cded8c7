//! From the chart to pods, and from pods to processes: the one source of the command lines, environment and files with
//! which the services run.
//!
//! [`Chart::render`] runs `helm template`; [`Chart::pods`] gives one [`Pod`] for each component (`scheduler`, `fetcher`,
//! `normalizer`, `store`, `api`), for each Job before an install (`topics`, `migrations`) and for the test (`smoke`):
//!
//! - `command` and `args`, as the container has them;
//! - `env`: each a [`Env::Text`], the pod's own name ([`Env::PodName`]) or a key of a Secret ([`Env::Secret`]);
//! - `files`: what is mounted, by path; content of the chart's own ConfigMap and Secret is there as [`File::Text`], of
//!   others as a reference ([`File::Secret`], [`File::ConfigMap`], [`File::Token`]);
//! - `ports` by name, `replicas`, `grace` (from SIGTERM to SIGKILL), `workload` (kind and name).
//!
//! [`Pod::process`] makes a process of it on this machine: it writes the files below a folder, puts that folder before every
//! path in arguments, environment and configuration, asks the caller for the contents that are only referred to, and adds
//! the caller's own environment last (addresses: several pods share this machine). So a harness runs
//!
//! ```text
//! let chart = Chart::render("waybill", "shop", &[values], &[])?;
//! let plan = chart.pods()["fetcher"].process(&folder, 0, &|_, name, key| …, &[("WAYBILL__ADMIN__LISTEN", "127.0.0.1:0")]);
//! let child = plan.command(PROGRAM).spawn()?;
//! ```
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;

/// The Kubernetes that is rendered for: helm built from its module takes a very old one for granted.
const KUBERNETES: &str = "1.34.1";

/// The checkout.
pub fn root() -> PathBuf {
    Path::new("../..").canonicalize().expect("the checkout")
}

/// Where helm is; builds it when it may. `None`: it is not there and cannot be built, and this is not CI.
///
/// # Panics
/// When it cannot be had in CI, or may not be built.
pub fn helm() -> Option<&'static Path> {
    static HELM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = HELM.get_or_init(|| {
        let answer = Command::new(root().join("scripts/kubernetes.sh")).arg("helm").output().expect("the script runs");
        let said = String::from_utf8_lossy(&answer.stderr);
        if answer.status.code() == Some(3) && std::env::var_os("CI").is_none() {
            return None;
        }
        assert!(answer.status.success(), "{said}");
        Some(PathBuf::from(String::from_utf8(answer.stdout).expect("a path").trim()))
    });
    found.as_deref()
}

/// A rendered chart.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Its objects, in the order of the rendering.
    pub objects: Vec<Value>,
}

/// Where an environment variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Env {
    /// It is written there.
    Text(String),
    /// The pod's own name.
    PodName,
    /// A key of a Secret.
    Secret {
        /// The Secret's name.
        name: String,
        /// Its key.
        key: String,
    },
}

/// What a mounted file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// Its content.
    Text(String),
    /// A key of a Secret that is not the chart's.
    Secret {
        /// The Secret's name.
        name: String,
        /// Its key.
        key: String,
    },
    /// A key of a ConfigMap that is not the chart's.
    ConfigMap {
        /// The ConfigMap's name.
        name: String,
        /// Its key.
        key: String,
    },
    /// A token of the pod's account, which the kubelet keeps fresh.
    Token {
        /// Whom it is for.
        audience: String,
    },
}

/// What runs in a pod of the chart.
#[derive(Debug, Clone)]
pub struct Pod {
    /// `scheduler`, …, `topics`, `migrations`, `smoke`.
    pub name: String,
    /// Kind and name of the object that brings it about.
    pub workload: (String, String),
    /// How many of it; 1 for Jobs and the test.
    pub replicas: u32,
    /// The program.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, Env>,
    /// Its files, by path.
    pub files: BTreeMap<String, File>,
    /// Its ports.
    pub ports: BTreeMap<String, u16>,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// The pod's whole specification.
    pub spec: Value,
}

/// A pod as a process of this machine.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment besides what every process has.
    pub env: BTreeMap<String, String>,
}

impl Process {
    /// The command; nothing of this process's own `WAYBILL` settings gets into it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WAYBILL_") {
                command.env_remove(name);
            }
        }
        command.args(&self.args).envs(&self.env);
        command
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn decode(base64: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = base64.bytes().filter_map(digit).collect();
    let mut bytes = Vec::new();
    for four in digits.chunks(4) {
        let whole = four.iter().fold(0u32, |sum, digit| (sum << 6) | u32::from(*digit)) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&whole.to_be_bytes()[1..four.len()]);
    }
    bytes
}

impl Chart {
    /// Renders the chart with files of values and `--set` arguments. The error is what helm said.
    ///
    /// # Errors
    /// When helm refuses the values.
    pub fn render(release: &str, namespace: &str, values: &[&Path], set: &[&str]) -> Result<Self, String> {
        let helm = helm().ok_or("helm is not there")?;
        let mut command = Command::new(helm);
        command.args(["template", "--kube-version", KUBERNETES, "--namespace", namespace, release]);
        command.arg(root().join("helm/waybill"));
        for file in values {
            command.arg("--values").arg(file);
        }
        for one in set {
            command.args(["--set", one]);
        }
        let answer = command.output().map_err(|error| error.to_string())?;
        if !answer.status.success() {
            return Err(String::from_utf8_lossy(&answer.stderr).into_owned());
        }
        let rendered = String::from_utf8(answer.stdout).map_err(|error| error.to_string())?;
        Ok(Self { objects: documents(&rendered)? })
    }

    /// Objects of a kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The object of a kind and name.
    pub fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.of_kind(kind).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    /// Everything that runs, by name.
    pub fn pods(&self) -> BTreeMap<String, Pod> {
        let templates = self.objects.iter().filter_map(|object| {
            let kind = object["kind"].as_str()?;
            let template = match kind {
                "StatefulSet" | "Deployment" | "Job" => &object["spec"]["template"]["spec"],
                "Pod" => &object["spec"],
                _ => return None,
            };
            Some(self.pod(kind, object, template))
        });
        templates.map(|pod| (pod.name.clone(), pod)).collect()
    }

    fn pod(&self, kind: &str, object: &Value, spec: &Value) -> Pod {
        let container = &spec["containers"][0];
        let strings = |list: &Value| list.as_array().into_iter().flatten().map(text).collect();
        let env = container["env"].as_array().into_iter().flatten().map(|entry| {
            let from = &entry["valueFrom"];
            let value = if from["fieldRef"]["fieldPath"] == "metadata.name" {
                Env::PodName
            } else if from["secretKeyRef"].is_object() {
                let place = &from["secretKeyRef"];
                Env::Secret { name: text(&place["name"]), key: text(&place["key"]) }
            } else {
                Env::Text(text(&entry["value"]))
            };
            (text(&entry["name"]), value)
        });
        let ports = container["ports"].as_array().into_iter().flatten().map(|port| {
            (text(&port["name"]), u16::try_from(port["containerPort"].as_u64().expect("a number")).expect("a port"))
        });
        Pod {
            name: text(&container["name"]),
            workload: (kind.to_owned(), text(&object["metadata"]["name"])),
            replicas: u32::try_from(object["spec"]["replicas"].as_u64().unwrap_or(1)).expect("a number of pods"),
            command: strings(&container["command"]),
            args: strings(&container["args"]),
            env: env.collect(),
            files: self.files(spec, container),
            ports: ports.collect(),
            grace: Duration::from_secs(spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30)),
            spec: spec.clone(),
        }
    }

    fn files(&self, spec: &Value, container: &Value) -> BTreeMap<String, File> {
        let mut files = BTreeMap::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let volumes = spec["volumes"].as_array().into_iter().flatten();
            let volume =
                volumes.clone().find(|volume| volume["name"] == mount["name"]).expect("a mount has its volume");
            let mut sources: Vec<&Value> = volume["projected"]["sources"].as_array().into_iter().flatten().collect();
            sources.push(volume);
            for source in sources {
                let token = &source["serviceAccountToken"];
                if token.is_object() {
                    let path = format!("{}/{}", text(&mount["mountPath"]), text(&token["path"]));
                    files.insert(path, File::Token { audience: text(&token["audience"]) });
                }
                for (kind, map) in [("Secret", &source["secret"]), ("ConfigMap", &source["configMap"])] {
                    let name = if map["secretName"].is_string() { &map["secretName"] } else { &map["name"] };
                    for item in map["items"].as_array().into_iter().flatten() {
                        let path = format!("{}/{}", text(&mount["mountPath"]), text(&item["path"]));
                        files.insert(path, self.content(kind, &text(name), &text(&item["key"])));
                    }
                }
            }
        }
        files
    }

    fn content(&self, kind: &str, name: &str, key: &str) -> File {
        let data = self.object(kind, name).map(|object| &object["data"][key]);
        match (kind, data.and_then(Value::as_str)) {
            ("Secret", Some(base64)) => File::Text(String::from_utf8(decode(base64)).expect("text")),
            (_, Some(text)) => File::Text(text.to_owned()),
            ("Secret", None) => File::Secret { name: name.to_owned(), key: key.to_owned() },
            (_, None) => File::ConfigMap { name: name.to_owned(), key: key.to_owned() },
        }
    }
}

impl Pod {
    /// The pod's name: of a StatefulSet by its ordinal, as the cluster gives it; of others some name that differs.
    pub fn pod_name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.workload.1)
    }

    /// Makes a process of it in `folder`: see the header. `look_up` answers the content of `(kind, name, key)`.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn process(
        &self,
        folder: &Path,
        ordinal: u32,
        look_up: &dyn Fn(&str, &str, &str) -> String,
        own_env: &[(&str, &str)],
    ) -> Process {
        let here = |text: &str| text.replace("/etc/waybill/", &format!("{}/etc/waybill/", folder.display()));
        for (path, file) in &self.files {
            let content = match file {
                File::Text(text) => here(text),
                File::Secret { name, key } => look_up("Secret", name, key),
                File::ConfigMap { name, key } => look_up("ConfigMap", name, key),
                File::Token { audience } => look_up("ServiceAccount", "token", audience),
            };
            let path = PathBuf::from(here(path));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
            fs::write(path, content).expect("a file can be written");
        }
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &self.env {
            let value = match value {
                Env::Text(text) => here(text),
                Env::PodName => self.pod_name(ordinal),
                Env::Secret { name, key } => look_up("Secret", name, key),
            };
            env.insert(name.clone(), value);
        }
        env.extend(own_env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Process { args: self.args.iter().map(|argument| here(argument)).collect(), env }
    }
}

/// The documents of a YAML stream; empty ones are left out.
///
/// # Errors
/// When one is no YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for document in format!("\n{yaml}").split("\n---") {
        let written = document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
        if written {
            found.push(serde_saphyr::from_str(document).map_err(|error| format!("{error}\n{document}"))?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_decoded() {
        for (base64, text) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("aGVsbSBrZXk/", "helm key?")]
        {
            assert_eq!(decode(base64), text.as_bytes(), "{base64}");
        }
    }

    #[test]
    fn a_pod_becomes_a_process_of_this_machine() {
        if helm().is_none() {
            return;
        }
        let values = root().join("examples/values-three-carriers.yaml");
        let chart = Chart::render("waybill", "shop", &[&values], &[]).unwrap();
        let pods = chart.pods();
        let names: Vec<&str> = pods.keys().map(String::as_str).collect();
        assert_eq!(names, ["api", "fetcher", "migrations", "normalizer", "scheduler", "smoke", "store", "topics"]);
        let folder = tempfile::tempdir().unwrap();
        let secrets = |kind: &str, name: &str, key: &str| format!("{kind} {name} {key}");
        let process = pods["fetcher"].process(folder.path(), 2, &secrets, &[("WAYBILL__ADMIN__LISTEN", "127.0.0.1:0")]);
        let config = folder.path().join("etc/waybill/config/waybill.json");
        assert_eq!(process.args, ["fetcher", "--config", &config.display().to_string()]);
        assert_eq!(process.env["WAYBILL__MEMBER"], "waybill-fetcher-2");
        assert_eq!(process.env["WAYBILL__ADMIN__LISTEN"], "127.0.0.1:0");
        assert_eq!(process.env["WAYBILL_SECRET_USPS_CLIENT_ID"], "Secret usps client_id");
        let config: Value = serde_json::from_str(&fs::read_to_string(config).unwrap()).unwrap();
        let password = config["log"]["kafka"]["setting_files"]["sasl.password"].as_str().unwrap();
        assert!(password.starts_with(&folder.path().display().to_string()), "{password}");
        assert_eq!(fs::read_to_string(password).unwrap(), "Secret kafka-waybill password");
        assert_eq!(pods["fetcher"].ports["admin"], 9090);
        assert_eq!(pods["fetcher"].replicas, 3);
    }
}

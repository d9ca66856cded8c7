//! A real Kubernetes API server for the tests, and what stands in for the nodes that it does not have.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{chart, list, text};

/// How long anything may take before a test gives up; no figure is asserted.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A running API server; it ends with this value.
pub(crate) struct Cluster {
    child: Child,
    dir: tempfile::TempDir,
    url: String,
    token: String,
    http: reqwest::Client,
}

/// What helm answered.
pub(crate) struct Answer {
    pub(crate) good: bool,
    pub(crate) said: String,
}

/// How the stand-in for nodes lets Jobs end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jobs {
    Succeed,
    Fail,
}

impl Cluster {
    /// Starts one. `None`: Go is not there to build it with, and this is not CI.
    pub(crate) async fn start() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(chart::root().join("scripts/kubernetes.sh"))
            .arg("run")
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            let status = child.wait().unwrap();
            assert!(
                status.code() == Some(3) && std::env::var_os("CI").is_none(),
                "the API server does not start: {status}"
            );
            println!("skipped: Go is not installed");
            return None;
        }
        let kubeconfig = std::fs::read_to_string(dir.path().join("kubeconfig")).unwrap();
        let kubeconfig: Value = chart::documents(&kubeconfig).unwrap().remove(0);
        let server = &kubeconfig["clusters"][0]["cluster"];
        let certificates = std::fs::read(text(&server["certificate-authority"])).unwrap();
        // The provider may be installed already by another test of this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&certificates).unwrap())
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Some(Self {
            child,
            url: text(&server["server"]).to_owned(),
            token: text(&kubeconfig["users"][0]["user"]["token"]).to_owned(),
            http,
            dir,
        })
    }

    /// One call to the API: status and body.
    async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let patch = method == reqwest::Method::PATCH;
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            let kind = if patch { "application/merge-patch+json" } else { "application/json" };
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().await.expect("the API server answers");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// An object, or `None`.
    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let (status, body) = self.call(reqwest::Method::GET, path, None).await;
        assert!(status == 200 || status == 404, "{path}: {body}");
        (status == 200).then_some(body)
    }

    /// Objects of a collection.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path).await.map(|body| list(&body["items"]).cloned().collect()).unwrap_or_default()
    }

    /// Whether the server tells helm of a kind, by its plural: a little after the definition is established.
    pub(crate) async fn discovers(&self, group: &str, plural: &str) -> bool {
        let request = self.http.get(format!("{}/apis", self.url)).bearer_auth(&self.token);
        let request = request.header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
        let answer = request.send().await.expect("the API server answers");
        let all: Value = answer.json().await.unwrap_or(Value::Null);
        let group = list(&all["items"]).find(|one| one["metadata"]["name"] == group);
        group.is_some_and(|group| {
            let versions = list(&group["versions"]);
            versions.flat_map(|version| list(&version["resources"])).any(|one| one["resource"] == plural)
        })
    }

    /// Creates an object; the error is what the server says.
    pub(crate) async fn create(&self, path: &str, body: &Value) -> Result<Value, String> {
        let (status, answer) = self.call(reqwest::Method::POST, path, Some(body)).await;
        if status == 201 { Ok(answer) } else { Err(answer["message"].as_str().unwrap_or_default().to_owned()) }
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) {
        let (status, answer) = self.call(reqwest::Method::PATCH, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }

    async fn delete(&self, path: &str) {
        let (status, answer) = self.call(reqwest::Method::DELETE, path, None).await;
        assert!([200, 202, 404].contains(&status), "{path}: {answer}");
    }

    /// A namespace in which only the most confined pods are admitted.
    pub(crate) async fn namespace(&self, name: &str) {
        let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
        let body = json!({ "metadata": { "name": name, "labels": labels } });
        self.create("/api/v1/namespaces", &body).await.unwrap();
    }

    pub(crate) async fn secret(&self, namespace: &str, name: &str, keys: &[&str]) {
        let data: serde_json::Map<String, Value> =
            keys.iter().map(|key| ((*key).to_owned(), json!(format!("test of-{name}-{key}-long-enough")))).collect();
        let body = json!({ "metadata": { "name": name }, "stringData": data });
        self.create(&format!("/api/v1/namespaces/{namespace}/secrets"), &body).await.unwrap();
    }

    /// Runs helm in a namespace, while Jobs and test pods end as a node would end them. Answers also which tasks ran.
    pub(crate) async fn helm(&self, namespace: &str, args: &[&str], jobs: Jobs) -> (Answer, Vec<String>) {
        let mut command = tokio::process::Command::new(chart::helm().expect("helm"));
        command.args(args).args(["--namespace", namespace, "--kubeconfig"]).arg(self.dir.path().join("kubeconfig"));
        for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(folder, self.dir.path().join("helm"));
        }
        // What another server once answered on this port is remembered elsewhere, for hours.
        command.env("KUBECACHEDIR", self.dir.path().join("cache"));
        let mut running = std::pin::pin!(command.kill_on_drop(true).output());
        let began = Instant::now();
        let mut ran = Vec::new();
        loop {
            tokio::select! {
                answer = &mut running => {
                    let answer = answer.unwrap();
                    let said = [answer.stdout, answer.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
                    return (Answer { good: answer.status.success(), said }, ran);
                }
                () = sleep(Duration::from_millis(100)) => ran.extend(self.play_node(namespace, jobs).await),
            }
            assert!(began.elapsed() < PATIENCE, "helm {args:?} does not end");
        }
    }

    /// What controllers and a node would do: makes each new Job's pod, sees that all it needs is there, and ends it.
    async fn play_node(&self, namespace: &str, jobs: Jobs) -> Vec<String> {
        let mut ran = Vec::new();
        let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
        for job in self.list(&path).await {
            if !job["status"]["conditions"].is_null() || job["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let name = text(&job["metadata"]["name"]).to_owned();
            self.needs(namespace, &job["spec"]["template"]["spec"], &name).await;
            self.admits(namespace, &job["spec"]["template"], &name).await;
            // The server's own clock; the Job was made a moment ago.
            let now = job["metadata"]["creationTimestamp"].clone();
            let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now, "reason": "Test", "message": "by the test" });
            let status = match jobs {
                Jobs::Succeed => json!({
                    "startTime": now, "completionTime": now, "succeeded": 1,
                    "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
                }),
                Jobs::Fail => json!({
                    "startTime": now, "failed": 1, "conditions": [condition("FailureTarget"), condition("Failed")],
                }),
            };
            self.patch(&format!("{path}/{name}/status"), &json!({ "status": status })).await;
            ran.push(name);
        }
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        for pod in self.list(&path).await {
            if pod["status"]["phase"] != "Pending" || pod["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let name = text(&pod["metadata"]["name"]).to_owned();
            self.needs(namespace, &pod["spec"], &name).await;
            self.patch(&format!("{path}/{name}/status"), &json!({ "status": { "phase": "Succeeded" } })).await;
            ran.push(name);
        }
        ran
    }

    /// The server admits a pod of a template, as if a controller made it; nothing stays of it.
    pub(crate) async fn admits(&self, namespace: &str, template: &Value, name: &str) {
        let metadata = json!({ "name": name, "labels": template["metadata"]["labels"] });
        let pod = json!({ "metadata": metadata, "spec": template["spec"] });
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict");
        if let Err(said) = self.create(&path, &pod).await {
            panic!("a pod of {name} is not admitted: {said}");
        }
    }

    /// Everything a pod names is there: without it a node would never start it.
    pub(crate) async fn needs(&self, namespace: &str, spec: &Value, name: &str) {
        let mut needed = Vec::new();
        let mut keys = |kind: &'static str, object: &Value, wanted: Vec<&Value>| {
            needed.push((
                kind,
                text(object).to_owned(),
                wanted.into_iter().map(|key| text(key).to_owned()).collect::<Vec<_>>(),
            ));
        };
        keys("serviceaccounts", &spec["serviceAccountName"], vec![]);
        for variable in list(&spec["containers"][0]["env"]) {
            let place = &variable["valueFrom"]["secretKeyRef"];
            if place.is_object() {
                keys("secrets", &place["name"], vec![&place["key"]]);
            }
        }
        for volume in list(&spec["volumes"]) {
            let projected = list(&volume["projected"]["sources"]);
            for source in projected.chain([volume]) {
                let of = |map: &'_ Value| list(&map["items"]).map(|item| item["key"].clone()).collect::<Vec<_>>();
                if source["secret"].is_object() {
                    let secret = &source["secret"];
                    let named = if secret["secretName"].is_string() { &secret["secretName"] } else { &secret["name"] };
                    keys("secrets", named, of(secret).iter().collect());
                }
                if source["configMap"].is_object() {
                    keys("configmaps", &source["configMap"]["name"], of(&source["configMap"]).iter().collect());
                }
            }
        }
        for (kind, object, wanted) in needed {
            let there = self.get(&format!("/api/v1/namespaces/{namespace}/{kind}/{object}")).await;
            let there =
                there.unwrap_or_else(|| panic!("{name} needs {kind}/{object}, which is not there when it runs"));
            for key in wanted {
                assert!(there["data"][&key].is_string(), "{name} needs the key {key} of {kind}/{object}");
            }
        }
    }

    /// Everything in a namespace that bears a release's label, as `kind/name`.
    pub(crate) async fn objects_of(&self, namespace: &str, release: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (group, kinds) in [
            ("/api/v1", &["configmaps", "secrets", "services", "serviceaccounts", "pods"][..]),
            ("/apis/apps/v1", &["statefulsets", "deployments"]),
            ("/apis/batch/v1", &["jobs"]),
            ("/apis/policy/v1", &["poddisruptionbudgets"]),
            ("/apis/autoscaling/v2", &["horizontalpodautoscalers"]),
            ("/apis/networking.k8s.io/v1", &["networkpolicies"]),
            ("/apis/keda.sh/v1alpha1", &["scaledobjects"]),
            ("/apis/monitoring.coreos.com/v1", &["servicemonitors"]),
        ] {
            for kind in kinds {
                let path =
                    format!("{group}/namespaces/{namespace}/{kind}?labelSelector=app.kubernetes.io/instance={release}");
                let names = self.list(&path).await;
                found.extend(names.iter().map(|object| format!("{kind}/{}", text(&object["metadata"]["name"]))));
            }
        }
        found
    }

    /// Stateful sets and deployments of a namespace.
    pub(crate) async fn workloads(&self, namespace: &str) -> Vec<Value> {
        let mut all = self.list(&format!("/apis/apps/v1/namespaces/{namespace}/statefulsets")).await;
        all.extend(self.list(&format!("/apis/apps/v1/namespaces/{namespace}/deployments")).await);
        all
    }

    /// Forgets the pods of a test that helm left.
    pub(crate) async fn delete_pod(&self, namespace: &str, name: &str) {
        self.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}")).await;
    }

    pub(crate) fn chart() -> PathBuf {
        chart::root().join("helm/waybill")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The script ends both processes when its input closes.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

//! `helm install`, `upgrade`, `rollback`, `test` and `uninstall` against a real API server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    AUTHORITY, EVERYTHING, ValuesFile,
    cluster::{Cluster, Jobs, PATIENCE},
    example, list, no_helm, text,
};

/// The release's name in every namespace.
const RELEASE: &str = "waybill";

type Answers = BTreeMap<String, Value>;

async fn by_name(cluster: &Cluster, namespace: &str) -> Answers {
    let all = cluster.workloads(namespace).await;
    all.into_iter().map(|workload| (text(&workload["metadata"]["name"]).to_owned(), workload)).collect()
}

/// One annotation of each workload's pods.
fn of_pods(workloads: &Answers, annotation: &str) -> Vec<String> {
    let of = |workload: &Value| text(&workload["spec"]["template"]["metadata"]["annotations"][annotation]).to_owned();
    workloads.values().map(of).collect()
}

/// Every pod that the workloads would make is admitted, and finds what it names.
async fn pods_could_run(cluster: &Cluster, namespace: &str) {
    let all = cluster.workloads(namespace).await;
    assert_eq!(all.len(), 5);
    for workload in all {
        let name = text(&workload["metadata"]["name"]);
        cluster.admits(namespace, &workload["spec"]["template"], &format!("{name}-0")).await;
        cluster.needs(namespace, &workload["spec"]["template"]["spec"], name).await;
    }
}

async fn good(cluster: &Cluster, namespace: &str, args: &[&str]) -> Vec<String> {
    let (answer, ran) = cluster.helm(namespace, args, Jobs::Succeed).await;
    assert!(answer.good, "helm {args:?}: {}", answer.said);
    ran
}

fn chart() -> String {
    Cluster::chart().display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_installs_upgrades_rolls_back_and_leaves_nothing() {
    if no_helm() {
        return;
    }
    let Some(cluster) = Cluster::start().await else { return };
    without_values(&cluster).await;
    a_failing_job_stops_an_upgrade(&cluster).await;
    three_carriers(&cluster).await;
    everything(&cluster).await;
    what_the_server_refuses(&cluster).await;
}

async fn without_values(cluster: &Cluster) {
    let ns = "defaults";
    cluster.namespace(ns).await;
    let ran = good(cluster, ns, &["install", RELEASE, &chart()]).await;
    assert_eq!(ran, ["waybill-topics", "waybill-migrations"], "both Jobs ran, in this order");
    pods_could_run(cluster, ns).await;
    let here = cluster.objects_of(ns, RELEASE).await;
    assert!(
        !here.iter().any(|name| name.contains("-setup") || name.starts_with("jobs/")),
        "hooks leave nothing: {here:?}"
    );
    let first = by_name(cluster, ns).await;
    let key =
        cluster.get(&format!("/api/v1/namespaces/{ns}/secrets/waybill")).await.unwrap()["data"]["api-keys"].clone();
    assert!(text(&key).len() > 40, "a key was made");

    let ran = good(cluster, ns, &["test", RELEASE]).await;
    assert_eq!(ran, ["waybill-smoke"]);
    cluster.delete_pod(ns, "waybill-smoke").await;

    let set = ["--set", "normalizer.replicas=4", "--set", "telemetry.filter=debug"];
    let ran = good(cluster, ns, &[&["upgrade", RELEASE, &chart()][..], &set].concat()).await;
    assert_eq!(ran, ["waybill-topics", "waybill-migrations"], "an upgrade runs them again");
    let second = by_name(cluster, ns).await;
    assert_eq!(second["waybill-normalizer"]["spec"]["replicas"], 4);
    for (old, new) in of_pods(&first, "checksum/config").iter().zip(of_pods(&second, "checksum/config")) {
        assert_ne!(*old, new, "a new configuration rolls the pods");
    }
    let kept =
        cluster.get(&format!("/api/v1/namespaces/{ns}/secrets/waybill")).await.unwrap()["data"]["api-keys"].clone();
    assert_eq!(kept, key, "the key that the chart made is kept");
    assert_eq!(of_pods(&first, "checksum/secrets"), of_pods(&second, "checksum/secrets"));

    let ran = good(cluster, ns, &["rollback", RELEASE, "1"]).await;
    assert_eq!(ran, Vec::<String>::new(), "a rollback changes neither topics nor tables");
    let third = by_name(cluster, ns).await;
    assert_eq!(third["waybill-normalizer"]["spec"]["replicas"], 2);
    assert_eq!(of_pods(&first, "checksum/config"), of_pods(&third, "checksum/config"));
    let kept =
        cluster.get(&format!("/api/v1/namespaces/{ns}/secrets/waybill")).await.unwrap()["data"]["api-keys"].clone();
    assert_eq!(kept, key, "nor the key");
    pods_could_run(cluster, ns).await;

    good(cluster, ns, &["uninstall", RELEASE]).await;
    assert_eq!(cluster.objects_of(ns, RELEASE).await, Vec::<String>::new());
}

async fn a_failing_job_stops_an_upgrade(cluster: &Cluster) {
    let ns = "failing";
    cluster.namespace(ns).await;
    good(cluster, ns, &["install", RELEASE, &chart()]).await;
    let before = by_name(cluster, ns).await;
    let set = ["upgrade", RELEASE, &chart(), "--set", "api.replicas=5"];
    let (answer, _) = cluster.helm(ns, &set, Jobs::Fail).await;
    assert!(!answer.good && answer.said.contains("pre-upgrade"), "{}", answer.said);
    let after = by_name(cluster, ns).await;
    assert_eq!(before["waybill-api"]["spec"], after["waybill-api"]["spec"], "nothing runs before its topics are there");
    // What failed stays for its log, and does not stand in the way of the next try.
    let left = cluster.objects_of(ns, RELEASE).await;
    assert!(left.contains(&"jobs/waybill-topics".to_owned()), "{left:?}");
    good(cluster, ns, &set).await;
    assert_eq!(by_name(cluster, ns).await["waybill-api"]["spec"]["replicas"], 5);
}

async fn three_carriers(cluster: &Cluster) {
    let ns = "carriers";
    cluster.namespace(ns).await;
    for (name, keys) in [
        ("usps", &["client_id", "client_secret"][..]),
        ("ups", &["client_id", "client_secret"]),
        ("dhl-express", &["api_key"]),
        ("kafka-waybill", &["password"]),
        ("clickhouse-waybill", &["password"]),
        ("waybill-api-keys", &["keys"]),
    ] {
        cluster.secret(ns, name, keys).await;
    }
    let body = json!({ "metadata": { "name": "kafka-ca" }, "data": { "ca.crt": "a certificate" } });
    cluster.create(&format!("/api/v1/namespaces/{ns}/configmaps"), &body).await.unwrap();
    let values = example().display().to_string();
    let with = ["--values", values.as_str()];
    good(cluster, ns, &[&["install", RELEASE, &chart()][..], &with].concat()).await;
    pods_could_run(cluster, ns).await;
    let own = cluster.get(&format!("/api/v1/namespaces/{ns}/secrets/waybill")).await;
    assert!(own.is_none(), "every secret is referred to, so the chart makes none");
    let first = by_name(cluster, ns).await;
    assert_eq!(first["waybill-fetcher"]["spec"]["replicas"], 3);
    let config = cluster.get(&format!("/api/v1/namespaces/{ns}/configmaps/waybill")).await.unwrap();
    let config: Value = serde_json::from_str(text(&config["data"]["waybill.json"])).unwrap();
    assert_eq!(config["carriers"]["dhl-express"]["budget"]["daily_quota"]["requests"], 5_000, "{config}");

    // A Secret that is not the chart's changes: the next upgrade rolls the pods.
    cluster
        .patch(&format!("/api/v1/namespaces/{ns}/secrets/usps"), &json!({ "stringData": { "client_id": "renewed" } }))
        .await;
    good(cluster, ns, &[&["upgrade", RELEASE, &chart()][..], &with].concat()).await;
    let second = by_name(cluster, ns).await;
    assert_eq!(of_pods(&first, "checksum/config"), of_pods(&second, "checksum/config"));
    for (old, new) in of_pods(&first, "checksum/secrets").iter().zip(of_pods(&second, "checksum/secrets")) {
        assert_ne!(*old, new);
    }
    good(cluster, ns, &[&["upgrade", RELEASE, &chart()][..], &with].concat()).await;
    let third = by_name(cluster, ns).await;
    assert_eq!(
        of_pods(&second, "checksum/secrets"),
        of_pods(&third, "checksum/secrets"),
        "nothing changed, nothing rolls"
    );
    let templates = |workloads: &Answers| -> Vec<Value> {
        workloads.values().map(|workload| workload["spec"]["template"].clone()).collect()
    };
    assert_eq!(templates(&second), templates(&third));
    good(cluster, ns, &["rollback", RELEASE, "1"]).await;
    pods_could_run(cluster, ns).await;
    good(cluster, ns, &["uninstall", RELEASE]).await;
    assert_eq!(cluster.objects_of(ns, RELEASE).await, Vec::<String>::new());
    assert!(cluster.get(&format!("/api/v1/namespaces/{ns}/secrets/usps")).await.is_some(), "others' Secrets stay");
}

/// A definition that takes any object: that the operators understand ours is not proved here, only that it gets there.
async fn define(cluster: &Cluster, group: &str, version: &str, kind: &str, plural: &str) {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let body = json!({
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase() },
            "versions": [{ "name": version, "served": true, "storage": true, "schema": schema }],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.create(path, &body).await.unwrap();
    let began = tokio::time::Instant::now();
    loop {
        let defined = cluster.get(&format!("{path}/{plural}.{group}")).await.unwrap();
        let established =
            list(&defined["status"]["conditions"]).any(|one| one["type"] == "Established" && one["status"] == "True");
        if established && cluster.discovers(group, plural).await {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{defined}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn everything(cluster: &Cluster) {
    define(cluster, "monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors").await;
    define(cluster, "keda.sh", "v1alpha1", "ScaledObject", "scaledobjects").await;
    let ns = "everything";
    cluster.namespace(ns).await;
    cluster.secret(ns, "usps", &["secret"]).await;
    cluster.secret(ns, "kafka-ca", &["ca.crt"]).await;
    let keys = ["bolt.adapter.yaml", "bolt.mapping.yaml", "nut.adapter.yaml", "nut.mapping.yaml"];
    let data: BTreeMap<&str, &str> = keys.into_iter().map(|key| (key, "format: 1")).collect();
    let body = json!({ "metadata": { "name": "more-carriers" }, "data": data });
    cluster.create(&format!("/api/v1/namespaces/{ns}/configmaps"), &body).await.unwrap();
    let data = json!({ "bolt.adapter.yaml": "format: 1", "bolt.mapping.yaml": "format: 1" });
    let body = json!({ "metadata": { "name": "maybe" }, "data": data });
    cluster.create(&format!("/api/v1/namespaces/{ns}/configmaps"), &body).await.unwrap();
    let body = json!({ "metadata": { "name": "clickhouse-ca" }, "data": { "ca.pem": AUTHORITY } });
    cluster.create(&format!("/api/v1/namespaces/{ns}/configmaps"), &body).await.unwrap();
    let class = json!({ "metadata": { "name": "high" }, "value": 1_000 });
    cluster.create("/apis/scheduling.k8s.io/v1/priorityclasses", &class).await.unwrap();
    let values = ValuesFile::new(EVERYTHING);
    let values = values.path().display().to_string();
    good(cluster, ns, &["install", RELEASE, &chart(), "--values", &values]).await;
    pods_could_run(cluster, ns).await;
    let here = cluster.objects_of(ns, RELEASE).await;
    for wanted in [
        "scaledobjects/tracking-fetcher",
        "scaledobjects/tracking-store",
        "servicemonitors/tracking",
        "horizontalpodautoscalers/tracking-api",
        "horizontalpodautoscalers/tracking-normalizer",
        "secrets/tracking",
    ] {
        assert!(here.contains(&wanted.to_owned()), "{wanted} is not among {here:?}");
    }
    good(cluster, ns, &["uninstall", RELEASE]).await;
    assert_eq!(cluster.objects_of(ns, RELEASE).await, Vec::<String>::new());
}

/// What the schema leaves to Kubernetes is refused by Kubernetes, in words that name the place.
async fn what_the_server_refuses(cluster: &Cluster) {
    let ns = "refused";
    cluster.namespace(ns).await;
    for (set, words) in [
        ("scheduler.tolerations[0].operator=Exists,scheduler.tolerations[0].value=a", "tolerations"),
        ("networkPolicy.kafka.to[0].ipBlock.cidr=everywhere", "cidr"),
    ] {
        let (answer, _) = cluster.helm(ns, &["install", RELEASE, &chart(), "--set", set], Jobs::Succeed).await;
        assert!(!answer.good && answer.said.contains(words), "{set}: {}", answer.said);
        let _ = cluster.helm(ns, &["uninstall", RELEASE], Jobs::Succeed).await;
    }
    // A value that the schema knows to be wrong never gets as far as the server.
    let (answer, ran) =
        cluster.helm(ns, &["install", RELEASE, &chart(), "--set", "fetcher.replica=3"], Jobs::Succeed).await;
    assert!(!answer.good && answer.said.contains("additional properties 'replica' not allowed"), "{}", answer.said);
    assert!(ran.is_empty() && cluster.folder().exists());
}

//! What the chart renders: structure, for no values at all, for the example's, and with every switch thrown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    EVERYTHING, SECRETS, ValuesFile,
    chart::{Chart, Env, File, Pod, Process, root},
    example, held, list, no_helm, render, renderings, text,
};

const SERVICES: [&str; 5] = ["scheduler", "fetcher", "normalizer", "store", "api"];

/// Pods' labels and specifications, with the name of what makes them.
fn templates(chart: &Chart) -> Vec<(String, &Value, &Value)> {
    let found = chart.objects.iter().filter_map(|object| {
        let name = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        match text(&object["kind"]) {
            "StatefulSet" | "Deployment" | "Job" => {
                let template = &object["spec"]["template"];
                Some((name, &template["metadata"]["labels"], &template["spec"]))
            }
            "Pod" => Some((name, &object["metadata"]["labels"], &object["spec"])),
            _ => None,
        }
    });
    found.collect()
}

fn matches(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value))
}

#[test]
fn every_pod_is_confined() {
    if no_helm() {
        return;
    }
    for (values, chart) in renderings() {
        let templates = templates(&chart);
        assert_eq!(templates.len(), SERVICES.len() + 3, "{values}");
        for (name, _, spec) in templates {
            let at = format!("{values}: {name}");
            let pod = &spec["securityContext"];
            assert_eq!(pod["runAsNonRoot"], true, "{at}");
            assert!(pod["runAsUser"].as_u64().is_some_and(|user| user >= 10_000), "{at}");
            assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{at}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{at}");
            assert_eq!(spec["enableServiceLinks"], false, "{at}: names of services would be taken for settings");
            for free in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
                assert!(spec[free].is_null(), "{at}: {free}");
            }
            for container in list(&spec["containers"]).chain(list(&spec["initContainers"])) {
                let security = &container["securityContext"];
                assert_eq!(security["readOnlyRootFilesystem"], true, "{at}");
                assert_eq!(security["allowPrivilegeEscalation"], false, "{at}");
                assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{at}");
                assert!(security["privileged"].is_null(), "{at}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{at}: memory without a bound");
                assert!(container["resources"]["requests"]["cpu"].is_string(), "{at}");
                for mount in list(&container["volumeMounts"]) {
                    assert!(mount["readOnly"] == true || mount["mountPath"] == "/tmp", "{at}: {mount}");
                }
            }
        }
    }
}

#[test]
fn every_probe_asks_a_port_that_exists_and_nothing_is_killed_while_state_is_rebuilt() {
    if no_helm() {
        return;
    }
    for (values, chart) in renderings() {
        let pods = chart.pods();
        for name in SERVICES {
            let pod = &pods[name];
            let container = &pod.spec["containers"][0];
            // Not readiness for the start: a partition that is refused would have the pod killed for ever.
            for (probe, path) in [
                ("startupProbe", "/health/started"),
                ("livenessProbe", "/health/live"),
                ("readinessProbe", "/health/ready"),
            ] {
                let asked = &container[probe]["httpGet"];
                assert!(pod.ports.contains_key(text(&asked["port"])), "{values}: {name}: {probe}: {asked}");
                assert_eq!(asked["path"], path, "{values}: {name}: {probe}");
            }
            assert_eq!(
                pod.env["WAYBILL__ADMIN__LISTEN"],
                Env::Text(format!("0.0.0.0:{}", pod.ports["admin"])),
                "{name}"
            );
            let startup = &container["startupProbe"];
            let patience = startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
            let needed = if name == "scheduler" { 1_800 } else { 300 };
            assert!(patience >= needed, "{values}: {name} is given {patience} s to start");
            // A process drains within 20 s of SIGTERM.
            assert!(pod.grace > Duration::from_secs(20), "{values}: {name}");
        }
        let api = &pods["api"];
        assert_eq!(api.env["WAYBILL__API__LISTEN"], Env::Text(format!("0.0.0.0:{}", api.ports["http"])));
        // SEC-1: the API listens beyond loopback, so it has keys.
        let Env::Text(keys) = &api.env["WAYBILL__API__KEYS_FILE"] else { panic!("a path") };
        assert!(api.files.contains_key(keys), "{values}: {keys} is mounted");
    }
}

#[test]
fn a_token_of_the_account_lies_where_the_settings_look_for_it_and_in_every_pod() {
    if no_helm() {
        return;
    }
    let values = ValuesFile::new(
        "kafka: {config: {oauth_token_file: /etc/waybill/kafka/token, settings: {sasl.mechanisms: OAUTHBEARER}}, \
         files: {token: {serviceAccountToken: {audience: kafka, expirationSeconds: 1200}}}}",
    );
    let chart = render(&[values.path()], &[]).unwrap();
    for name in SERVICES.iter().chain(&["topics", "migrations", "smoke"]) {
        let pod = &chart.pods()[*name];
        let wanted = File::Token { audience: "kafka".to_owned() };
        assert_eq!(pod.files.get("/etc/waybill/kafka/token"), Some(&wanted), "{name}");
        let volume = list(&pod.spec["volumes"]).find(|volume| volume["name"] == "kafka").unwrap();
        let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
        assert_eq!(*token, json!({ "audience": "kafka", "expirationSeconds": 1_200, "path": "token" }), "{name}");
        // The account's usual token, for the Kubernetes API, is still not there.
        assert_eq!(pod.spec["automountServiceAccountToken"], false, "{name}");
    }
}

#[test]
fn candidates_are_there_and_not_in_force() {
    if no_helm() {
        return;
    }
    let everything = ValuesFile::new(EVERYTHING);
    let chart = render(&[everything.path()], &[]).unwrap();
    let pod = &chart.pods()["fetcher"];
    let File::Text(config) = &pod.files["/etc/waybill/config/waybill.json"] else { panic!("a text") };
    let config: Value = serde_json::from_str(config).unwrap();
    let folders = ["inline", "map-more-carriers", "volume-shared"].map(|name| format!("/etc/waybill/adapters/{name}"));
    assert_eq!(config["adapters"], json!(folders));
    let mounted: BTreeSet<&str> =
        list(&pod.spec["containers"][0]["volumeMounts"]).map(|mount| text(&mount["mountPath"])).collect();
    for candidate in ["/etc/waybill/adapters/map-maybe", "/etc/waybill/adapters/volume-next"] {
        assert!(mounted.contains(candidate), "{candidate} is not among {mounted:?}");
    }
    let acme = &config["carriers"]["acme"];
    assert_eq!(
        acme["canary"],
        json!({ "adapters": "/etc/waybill/adapters/volume-next", "share": 0.2, "mode": "live" })
    );
    assert_eq!((&acme["private"], &acme["drift"]["least"]), (&json!(["signed_by"]), &json!(50)));
}

#[test]
fn selectors_select_the_pods_of_their_component_and_no_others() {
    if no_helm() {
        return;
    }
    for (values, chart) in renderings() {
        let templates = templates(&chart);
        let workloads: Vec<&Value> =
            chart.of_kind("StatefulSet").into_iter().chain(chart.of_kind("Deployment")).collect();
        let mut selectors = Vec::new();
        for workload in &workloads {
            selectors.push((*workload, &workload["spec"]["selector"]["matchLabels"]));
            for spread in list(&workload["spec"]["template"]["spec"]["topologySpreadConstraints"]) {
                selectors.push((workload, &spread["labelSelector"]["matchLabels"]));
            }
        }
        for budget in chart.of_kind("PodDisruptionBudget") {
            selectors.push((budget, &budget["spec"]["selector"]["matchLabels"]));
        }
        for policy in chart.of_kind("NetworkPolicy") {
            selectors.push((policy, &policy["spec"]["podSelector"]["matchLabels"]));
        }
        for (object, selector) in selectors {
            let name = text(&object["metadata"]["name"]);
            let component = name.rsplit('-').next().unwrap();
            let found: BTreeSet<&str> = templates
                .iter()
                .filter(|(_, labels, _)| matches(selector, labels))
                .map(|(_, labels, _)| text(&labels["app.kubernetes.io/component"]))
                .collect();
            assert_eq!(found, [component].into(), "{values}: {} {name}", text(&object["kind"]));
        }
        // One policy each, so nobody is left open.
        for (name, labels, _) in &templates {
            let policies = chart.of_kind("NetworkPolicy");
            let over = policies.iter().filter(|policy| matches(&policy["spec"]["podSelector"]["matchLabels"], labels));
            assert_eq!(over.count(), 1, "{values}: {name}");
        }
        for service in chart.of_kind("Service") {
            let name = text(&service["metadata"]["name"]);
            let selected: Vec<&(String, &Value, &Value)> =
                templates.iter().filter(|(_, labels, _)| matches(&service["spec"]["selector"], labels)).collect();
            assert_eq!(selected.len(), if name.ends_with("-api") { 1 } else { SERVICES.len() }, "{values}: {name}");
            for (pod, _, spec) in selected {
                for port in list(&service["spec"]["ports"]) {
                    let named = list(&spec["containers"][0]["ports"]).any(|own| own["name"] == port["targetPort"]);
                    assert!(named, "{values}: {name} leads to {port} of {pod}");
                }
            }
        }
        for scaled in chart.of_kind("HorizontalPodAutoscaler").into_iter().chain(chart.of_kind("ScaledObject")) {
            let target = &scaled["spec"]["scaleTargetRef"];
            let workload = chart.object(text(&target["kind"]), text(&target["name"]));
            let workload = workload.unwrap_or_else(|| panic!("{values}: nothing is {target}"));
            assert!(workload["spec"]["replicas"].is_null(), "an upgrade would undo the scaling of {target}");
        }
        for monitor in chart.of_kind("ServiceMonitor") {
            let wanted = &monitor["spec"]["selector"]["matchLabels"];
            let found =
                chart.of_kind("Service").into_iter().filter(|service| matches(wanted, &service["metadata"]["labels"]));
            assert_eq!(found.map(|service| text(&service["metadata"]["name"])).collect::<Vec<_>>(), ["tracking-pods"]);
        }
    }
}

#[test]
fn members_are_named_by_their_pods_and_keep_their_ordinals() {
    if no_helm() {
        return;
    }
    for (values, chart) in renderings() {
        let pods = chart.pods();
        for name in SERVICES {
            assert_eq!(pods[name].env["WAYBILL__MEMBER"], Env::PodName, "{values}: {name}");
        }
        for name in ["scheduler", "fetcher"] {
            let (kind, set) = &pods[name].workload;
            assert_eq!(kind, "StatefulSet", "{values}: {name}: its pods' names end in ordinals");
            let set = chart.object(kind, set).unwrap();
            assert_eq!(set["spec"]["podManagementPolicy"], "OrderedReady", "one at a time, downwards as well");
            assert!(chart.object("Service", text(&set["spec"]["serviceName"])).is_some(), "{values}: {name}");
        }
    }
}

/// Everything written in a chart but in Secrets.
fn outside_secrets(chart: &Chart) -> String {
    let others = chart.objects.iter().filter(|object| object["kind"] != "Secret");
    others.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn sec_1_secrets_are_in_secrets_only_and_carriers_keys_get_to_fetchers_only() {
    if no_helm() {
        return;
    }
    let everything = ValuesFile::new(EVERYTHING);
    let chart = render(&[everything.path()], &[]).unwrap();
    let secrets = chart.of_kind("Secret").into_iter().map(ToString::to_string).collect::<String>();
    let others = outside_secrets(&chart);
    for secret in SECRETS {
        // Base64 of the text at each of the three places where it can begin; without its ends, which its neighbours change.
        let coded = base64_inside(secret);
        assert!(coded.iter().any(|coded| secrets.contains(coded)), "{secret} is in no Secret");
        assert!(!others.contains(secret), "{secret} is written in the open");
        assert!(!coded.iter().any(|coded| others.contains(coded)), "{secret} is written in the open, coded");
    }
    for (values, chart) in renderings() {
        for (name, pod) in chart.pods() {
            let held = pod.env.iter().filter(|(variable, value)| {
                variable.starts_with("WAYBILL_SECRET_") && matches!(value, Env::Secret { .. })
            });
            let held = held.count();
            assert_eq!(
                held > 0,
                name == "fetcher" && values != "no values",
                "{values}: {name} holds {held} carriers' keys"
            );
        }
        // Scheduler, fetchers and API must agree on which carriers are on: that a secret is there is known to all.
        let of =
            |pod: &Pod| pod.env.keys().filter(|key| key.starts_with("WAYBILL_SECRET_")).cloned().collect::<Vec<_>>();
        let pods = chart.pods();
        assert_eq!(of(&pods["fetcher"]), of(&pods["api"]), "{values}");
        assert_eq!(of(&pods["fetcher"]), of(&pods["scheduler"]), "{values}");
    }
}

fn base64_inside(text: &str) -> Vec<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let coded = |before: usize| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text.as_bytes());
        let mut out = String::new();
        for three in bytes.chunks_exact(3) {
            let whole = (u32::from(three[0]) << 16) | (u32::from(three[1]) << 8) | u32::from(three[2]);
            out.extend([18, 12, 6, 0].map(|shift| char::from(DIGITS[(whole >> shift) as usize & 63])));
        }
        out[if before == 0 { 0 } else { 4 }..].to_owned()
    };
    (0..3).map(coded).collect()
}

fn annotations(chart: &Chart, which: &str) -> BTreeMap<String, String> {
    let workloads = chart.of_kind("StatefulSet").into_iter().chain(chart.of_kind("Deployment"));
    let of = |workload: &Value| {
        let value = &workload["spec"]["template"]["metadata"]["annotations"][which];
        (text(&workload["metadata"]["name"]).to_owned(), text(value).to_owned())
    };
    workloads.map(of).collect()
}

#[test]
fn a_change_of_configuration_or_secrets_rolls_every_pod_and_nothing_else_does() {
    if no_helm() {
        return;
    }
    let everything = ValuesFile::new(EVERYTHING);
    let with = |set: &[&str]| render(&[everything.path()], set).unwrap();
    let before = with(&[]);
    let differ = |after: &Chart, which: &str| {
        let (old, new) = (annotations(&before, which), annotations(after, which));
        assert_eq!(old.len(), SERVICES.len());
        assert!(old.values().all(|value| value.len() == 64), "{old:?}");
        let changed = old.iter().filter(|(name, value)| new[*name] != **value).count();
        assert!(changed == 0 || changed == SERVICES.len(), "{which}: only {changed} pods roll");
        changed > 0
    };
    for (set, config, secrets) in [
        ("telemetry.filter=debug", true, false),
        ("carriers.acme.enabled=false", true, false),
        ("adapters.inline.acme.mapping=format: 2", true, false),
        ("clickhouse.password.value=another", false, true),
        ("carriers.usps.secrets.client_id.value=another", false, true),
        ("apiKeys.value=shop another-key-of-24-characters", false, true),
        ("api.replicas=7", false, false),
        ("networkPolicy.enabled=false", false, false),
    ] {
        let after = with(&[set]);
        assert_eq!(differ(&after, "checksum/config"), config, "{set}: checksum/config");
        assert_eq!(differ(&after, "checksum/secrets"), secrets, "{set}: checksum/secrets");
    }
    // Without values: a key that the chart makes differs at each rendering, and must roll nothing by itself.
    let (one, two) = (render(&[], &[]).unwrap(), render(&[], &[]).unwrap());
    assert_eq!(annotations(&one, "checksum/secrets"), annotations(&two, "checksum/secrets"));
    assert_ne!(one.of_kind("Secret"), two.of_kind("Secret"), "the key is made at random");
}

#[test]
fn jobs_before_an_install_bring_all_they_need() {
    if no_helm() {
        return;
    }
    for (values, chart) in renderings() {
        let is_hook = |object: &Value| text(&object["metadata"]["annotations"]["helm.sh/hook"]).contains("pre-install");
        let weight = |object: &Value| -> i64 {
            text(&object["metadata"]["annotations"]["helm.sh/hook-weight"]).parse().unwrap()
        };
        let hooks: Vec<&Value> = chart.objects.iter().filter(|object| is_hook(object)).collect();
        let jobs: Vec<&Value> = hooks.iter().copied().filter(|object| object["kind"] == "Job").collect();
        assert_eq!(jobs.len(), 2, "{values}");
        let pods = chart.pods();
        assert_eq!(pods["topics"].args[..3], ["topics", "apply", "--yes"], "{values}");
        assert_eq!(pods["migrations"].args[0], "migrate", "{values}");
        let order = |name: &str| weight(chart.object("Job", &pods[name].workload.1).unwrap());
        assert!(order("topics") < order("migrations"));
        let own: BTreeSet<(&str, &str)> = chart
            .objects
            .iter()
            .filter(|object| !is_hook(object))
            .map(|object| (text(&object["kind"]), text(&object["metadata"]["name"])))
            .collect();
        for name in ["topics", "migrations"] {
            let mut spec = pods[name].spec.clone();
            spec["containers"][0]["command"] = Value::Null;
            let spec = spec.to_string();
            for (kind, object) in &own {
                let named = format!("{object:?}");
                assert!(!spec.contains(&named), "{values}: {name} names the {kind} {object}, which is not there yet");
            }
            for (path, file) in &pods[name].files {
                let brought = matches!(file, File::Text(_));
                let foreign = values != "no values"
                    && (path.contains("/otlp/")
                        || path.contains("/kafka/")
                        || path.contains("/adapters/")
                        || path.contains("/clickhouse/"));
                assert!(brought || foreign, "{values}: {name}: {path} is {file:?}");
            }
        }
        assert_eq!(
            pods["topics"].files["/etc/waybill/config/waybill.json"],
            pods["store"].files["/etc/waybill/config/waybill.json"]
        );
        assert_eq!(pods["store"].command, pods["topics"].command, "the same image and program");
    }
}

/// The program takes what each pod gives it.
#[test]
fn the_program_takes_each_pods_configuration() {
    if no_helm() {
        return;
    }
    let without_adapters = ["adapters.inline=null", "adapters.configMaps=null", "adapters.volumes=null"];
    let everything = ValuesFile::new(EVERYTHING);
    let renderings = [
        ("no values", render(&[], &[]).unwrap()),
        ("three carriers", render(&[example()], &[]).unwrap()),
        ("everything", render(&[everything.path()], &without_adapters).unwrap()),
    ];
    for (values, chart) in renderings {
        for (name, pod) in chart.pods() {
            let folder = tempfile::tempdir().unwrap();
            let process = pod.process(folder.path(), 0, &held, &[]);
            let config = folder.path().join("etc/waybill/config/waybill.json").display().to_string();
            let check = Process { args: ["config", "check", "--config", &config].map(str::to_owned).into(), ..process };
            let mut command = check.command(env!("CARGO_BIN_EXE_waybill"));
            let answer = command.output().unwrap();
            assert!(answer.status.success(), "{values}: {name}: {}", String::from_utf8_lossy(&answer.stderr));
        }
    }
}

#[test]
fn the_chart_is_of_the_programs_version() {
    let chart = std::fs::read_to_string(root().join("helm/waybill/Chart.yaml")).unwrap();
    assert!(chart.contains(&format!("\nappVersion: \"{}\"\n", env!("CARGO_PKG_VERSION"))), "{chart}");
}

#[test]
fn names_stay_within_what_kubernetes_takes() {
    if no_helm() {
        return;
    }
    let long = "a-release-with-a-name-as-long-as-helm-allows-it-to-be";
    let chart = Chart::render(long, "shop", &[], &[]).unwrap();
    let mut seen = BTreeSet::new();
    for object in &chart.objects {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        assert!(name.len() <= 52, "{kind} {name}: with its ordinal or hash it may not exceed 63");
        assert!(seen.insert((kind, name)), "{kind} {name} is there twice");
        assert!(object["metadata"]["namespace"].is_null(), "{kind} {name}: the release's namespace is helm's to give");
        assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/instance"], long, "{kind} {name}");
    }
}

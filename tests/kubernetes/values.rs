//! What may be written into values: right ones pass, wrong ones are refused with a sentence that names the place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;
use waybill_schemas::{
    drift::{DriftOverride, TrialMode},
    politeness::{BudgetOverride, DailyQuota},
};

use crate::{EVERYTHING, ValuesFile, chart, example, no_helm, render};

fn schema() -> Value {
    let path = chart::root().join("helm/waybill/values.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn values_text() -> String {
    fs::read_to_string(chart::root().join("helm/waybill/values.yaml")).unwrap()
}

#[test]
fn the_chart_lints() {
    let Some(helm) = chart::helm() else {
        no_helm();
        return;
    };
    let everything = ValuesFile::new(EVERYTHING);
    for values in [None, Some(example()), Some(everything.path())] {
        let mut command = Command::new(helm);
        command.args(["lint", "--strict", "--kube-version", "1.34.1"]).arg(chart::root().join("helm/waybill"));
        if let Some(values) = &values {
            command.arg("--values").arg(values);
        }
        let answer = command.output().unwrap();
        assert!(answer.status.success(), "{values:?}: {}", String::from_utf8_lossy(&answer.stdout));
    }
}

#[test]
fn right_values_pass() {
    if no_helm() {
        return;
    }
    for right in [
        "",
        EVERYTHING,
        "networkPolicy: {enabled: false}\nkafka: {brokers: 'kafka.example.org:9094'}",
        "carriers: {gls: {}}",
        "carriers: {gls: {private: [], drift: {}, canary: {adapters: /opt/next}}}",
        "kafka: {files: {token: {serviceAccountToken: {audience: kafka}}}}",
        "kafka: {config: {settings: {ssl.key.location: /etc/waybill/kafka/key.pem}}}",
        "apiKeys: {value: \"# ours\\n\\nshop 0123456789abcdef01234567\\nother 76543210fedcba9876543210\\n\"}",
        "scheduler: {podDisruptionBudget: {maxUnavailable: 25%}}",
        "api: {config: {max_connections: 2048, max_streams: 1024}}",
        "clickhouse: {url: 'http://clickhouse.infra.svc:8124', password: {secret: ch, key: pw}}",
        "clickhouse: {url: 'https://clickhouse.infra.svc', ca: {}}",
        "clickhouse: {url: 'https://clickhouse.infra.svc:8443', ca: {secret: ch, key: ca.crt}}",
    ] {
        let file = ValuesFile::new(right);
        if let Err(said) = render(&[file.path()], &[]) {
            panic!("{right}\n{said}");
        }
    }
}

#[test]
fn wrong_values_are_refused_with_a_sentence_that_names_the_place() {
    if no_helm() {
        return;
    }
    // The values, and what the refusal must say.
    let wrong: &[(&str, &[&str])] = &[
        ("replicaCount: 3", &["additional properties 'replicaCount' not allowed"]),
        ("api: {replica: 3}", &["/api", "'replica' not allowed"]),
        ("fetcher: {config: {max_opne: 3}}", &["/fetcher/config", "'max_opne' not allowed"]),
        (
            "fetcher: {autoscaling: {scaleDown: {window: 3}}}",
            &["/fetcher/autoscaling/scaleDown", "'window' not allowed"],
        ),
        ("api: {config: {listen: '0.0.0.0:80'}}", &["/api/config", "'listen' not allowed"]),
        ("api: {config: {max_connections: 1}}", &["/api/config/max_connections", "want 2"]),
        ("carriers: {usps: {budgets: {}}}", &["/carriers/usps", "'budgets' not allowed"]),
        ("carriers: {usps: {budget: {daily_quota: {spread: true}}}}", &["/daily_quota", "missing property 'requests'"]),
        ("carriers: {USPS: {}}", &["/carriers", "'USPS' not allowed"]),
        ("carriers: {usps: {secrets: {key: plain}}}", &["/carriers/usps/secrets/key", "got string, want object"]),
        ("carriers: {usps: {secrets: {key: {name: a}}}}", &["/carriers/usps/secrets/key", "'name' not allowed"]),
        ("carriers: {usps: {secrets: {key: {secret: a}}}}", &["carriers.usps.secrets.key: a reference needs both"]),
        ("carriers: {usps: {secrets: {key: {}}}}", &["carriers.usps.secrets.key: give `value`, or `secret` and `key`"]),
        ("apiKeys: {value: a, secret: b, key: c}", &["apiKeys: give either `value` or `secret` and `key`"]),
        ("apiKeys: {value: shop too-short}", &["apiKeys.value: write lines of `name token`"]),
        ("apiKeys: {value: a-token-without-a-name-0123456789}", &["apiKeys.value: write lines of `name token`"]),
        (
            "kafka: {config: {settings: {sasl.password: plain}}}",
            &["kafka.config.settings: `sasl.password` is a secret", "kafka.secretSettings"],
        ),
        ("fetcher: {env: {WAYBILL__MEMBER: me}}", &["fetcher.env: WAYBILL__MEMBER is set by the chart"]),
        (
            "clickhouse: {ca: {secret: ch, key: ca.crt}}",
            &["clickhouse.ca: nothing is verified at http://clickhouse:8123; write https://"],
        ),
        ("clickhouse: {url: 'https://ch', ca: {secret: a}}", &["clickhouse.ca: give `secret` and `key`, or"]),
        ("clickhouse: {url: 'https://ch', ca: {key: a}}", &["clickhouse.ca: give `secret` and `key`, or"]),
        ("clickhouse: {url: 'https://ch', ca: {secret: a, configMap: b, key: c}}", &["clickhouse.ca: give `secret`"]),
        ("clickhouse: {ca: {value: a}}", &["/clickhouse/ca", "'value' not allowed"]),
        ("clickhouse: {password: {key: b}}", &["clickhouse.password: a reference needs both"]),
        ("kafka: {secretSettings: {sasl.password: {}}}", &["kafka.secretSettings.sasl.password: give `value`"]),
        ("kafka: {files: {ca.crt: {key: ca.crt}}}", &["kafka.files.ca.crt: give `secret` and `key`, `configMap`"]),
        ("kafka: {files: {ca.crt: {secret: ca}}}", &["kafka.files.ca.crt: give `secret` and `key`, `configMap`"]),
        ("kafka: {files: {token: {serviceAccountToken: {}}}}", &["/kafka/files/token", "missing property 'audience'"]),
        (
            "kafka: {files: {token: {key: a, serviceAccountToken: {audience: kafka}}}}",
            &["kafka.files.token: give `secret` and `key`, `configMap` and `key`, or `serviceAccountToken`"],
        ),
        (
            "kafka: {files: {token: {serviceAccountToken: {audience: kafka, expirationSeconds: 60}}}}",
            &["/kafka/files/token/serviceAccountToken/expirationSeconds", "want 600"],
        ),
        ("kafka: {brokers: null}", &["/kafka", "missing property 'brokers'"]),
        ("telemetry: null", &["missing property 'telemetry'"]),
        ("scheduler: {startupProbe: null}", &["/scheduler", "missing property 'startupProbe'"]),
        ("clickhouse: {password: null}", &["/clickhouse", "missing property 'password'"]),
        ("carriers: {usps: {private: signed_by}}", &["/carriers/usps/private", "got string, want array"]),
        ("carriers: {usps: {canary: {share: 0.1}}}", &["/carriers/usps/canary", "missing property 'adapters'"]),
        ("carriers: {usps: {canary: {adapters: /a, share: 2}}}", &["/carriers/usps/canary/share", "want 1"]),
        ("carriers: {usps: {canary: {adapters: /a, mode: loud}}}", &["/canary/mode", "'shadow', 'live'"]),
        ("carriers: {usps: {drift: {unreadible: 0.1}}}", &["/carriers/usps/drift", "'unreadible' not allowed"]),
        ("telemetry: {otlp: {sample_ratio: 0.5}}", &["/telemetry/otlp", "endpoint"]),
        ("otlpHeaders: {authorization: {}}", &["otlpHeaders.authorization: give `value`"]),
        (
            "telemetry: {otlp: {endpoint: 'https://otlp.example.org'}}",
            &["networkPolicy.otlp.to: otlp.example.org:443 is outside this cluster"],
        ),
        ("api: {env: {'1-A': b}}", &["/api/env", "'1-A' not allowed"]),
        (
            "adapters: {volumes: [{name: a, source: {persistentVolumeClame: {claimName: a}}}]}",
            &["/adapters/volumes/0/source", "'persistentVolumeClame' not allowed"],
        ),
        ("networkPolicy: {kafka: {to: [{ipblock: {}}]}}", &["/networkPolicy/kafka/to/0", "'ipblock' not allowed"]),
        (
            "store: {affinity: {podAntiAffinity: {required: []}}}",
            &["/store/affinity/podAntiAffinity", "'required' not allowed"],
        ),
        ("api: {resources: {limits: {memory: plenty}}}", &["/api/resources/limits/memory", "does not match pattern"]),
        ("scheduler: {replicas: two}", &["/scheduler/replicas", "got string, want integer"]),
        ("kafka: {partitions: 0}", &["/kafka/partitions", "minimum: got 0, want 1"]),
        ("image: {pullPolicy: Sometimes}", &["/image/pullPolicy", "'Always', 'IfNotPresent', 'Never'"]),
        ("image: {digest: latest}", &["/image/digest", "does not match pattern"]),
        ("scheduler: {autoscaling: {kind: hpa}}", &["/scheduler/autoscaling/kind", "none"]),
        ("api: {autoscaling: {kind: keda}}", &["/api/autoscaling/kind", "'none', 'hpa'"]),
        ("store: {terminationGracePeriodSeconds: 10}", &["/store/terminationGracePeriodSeconds", "want 25"]),
        ("api: {podDisruptionBudget: {maxUnavailable: 0}}", &["/api/podDisruptionBudget/maxUnavailable"]),
        ("store: {autoscaling: {kind: keda}}", &["store.autoscaling.kind is keda: set keda.prometheusAddress"]),
        (
            "normalizer: {autoscaling: {kind: hpa, minReplicas: 9}}",
            &["normalizer.autoscaling: minReplicas 9 is more than maxReplicas 8"],
        ),
        (
            "kafka: {brokers: 'b1.kafka.example.org:9094'}",
            &["networkPolicy.kafka.to: b1.kafka.example.org:9094 is outside this cluster"],
        ),
        ("kafka: {brokers: '192.0.2.7:9092'}", &["networkPolicy.kafka.to: 192.0.2.7:9092 is outside this cluster"]),
        ("clickhouse: {url: 'clickhouse:8123'}", &["/clickhouse/url", "does not match pattern"]),
        ("clickhouse: {url: 'http://ch.example.org:8123'}", &["networkPolicy.clickhouse.to: ch.example.org:8123"]),
        ("clickhouse: {url: 'https://ch.example.org'}", &["networkPolicy.clickhouse.to: ch.example.org:443"]),
        (
            "adapters: {inline: {acme: {adapter: 'format: 1'}}}",
            &["/adapters/inline/acme", "missing property 'mapping'"],
        ),
    ];
    for (values, parts) in wrong {
        let file = ValuesFile::new(values);
        let Err(said) = render(&[file.path()], &[]) else { panic!("{values} is taken") };
        for part in *parts {
            assert!(said.contains(part), "{values}: the refusal lacks {part:?}:\n{said}");
        }
    }
}

/// What has a value in values.yaml is not taken away by `null`: the schema says what is missing. What is empty there may be
/// `null`: it means the same.
#[test]
fn null_means_empty_or_is_refused_in_a_sentence() {
    fn walk(at: &str, node: &Value, value: &Value, empty: &mut Vec<String>) {
        let required: Vec<&str> = crate::list(&node["required"]).map(crate::text).collect();
        for (key, value) in value.as_object().into_iter().flatten() {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            let inner = &node["properties"][key];
            let hollow = value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value == "";
            if hollow && !required.contains(&key.as_str()) {
                empty.push(path);
                continue;
            }
            // Kubernetes's own objects, and the user's own keys, end the walk.
            let ours = node["properties"].is_object() && node["$ref"].is_null();
            assert!(!ours || required.contains(&key.as_str()), "the schema does not require {path}");
            if inner["$ref"].is_null() {
                walk(&path, inner, value, empty);
            }
        }
    }
    let mut empty = Vec::new();
    let values = chart::documents(&values_text()).unwrap().remove(0);
    walk("", &schema(), &values, &mut empty);
    assert!(empty.len() > 50 && empty.contains(&"kafka.config".to_owned()), "{empty:?}");
    if no_helm() {
        return;
    }
    let nothing: Vec<String> = empty.iter().map(|path| format!("{path}=null")).collect();
    let nothing: Vec<&str> = nothing.iter().map(String::as_str).collect();
    let one = ["kafka.config=null"];
    for set in [&nothing[..], &one] {
        let without = render(&[], set).unwrap_or_else(|said| panic!("{set:?}: {said}"));
        let pods =
            |chart: &chart::Chart| chart.pods().into_iter().map(|(name, pod)| (name, pod.spec)).collect::<Vec<_>>();
        assert_eq!(pods(&without), pods(&render(&[], &[]).unwrap()), "{set:?}");
    }
}

/// Every object of the schema either names all its keys, or says of what sort the values of free keys are.
#[test]
fn the_schema_leaves_no_level_open() {
    fn walk(at: &str, value: &Value, open: &mut Vec<String>) {
        if value["type"] == "object" {
            match &value["additionalProperties"] {
                Value::Bool(false) | Value::Object(_) => {}
                // Helm's own.
                Value::Bool(true) if at == "/properties/global" => {}
                _ => open.push(at.to_owned()),
            }
        }
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| walk(&format!("{at}/{key}"), value, open)),
            Value::Array(all) => all.iter().for_each(|value| walk(at, value, open)),
            _ => {}
        }
    }
    let mut open = Vec::new();
    walk("", &schema(), &mut open);
    assert!(open.is_empty(), "these objects take unknown keys: {open:?}");
}

/// Follows a reference.
fn resolve<'a>(schema: &'a Value, node: &'a Value) -> &'a Value {
    node["$ref"].as_str().map_or(node, |path| schema.pointer(path.trim_start_matches('#')).expect("a definition"))
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn values_and_schema_know_the_same_keys() {
    fn walk(at: &str, schema: &Value, node: &Value, value: &Value) {
        let node = resolve(schema, node);
        let (known, given) = (keys(&node["properties"]), keys(value));
        // Empty objects and lists in values.yaml are places for the user's own.
        if !given.is_empty() && !known.is_empty() && !node["description"].is_string() {
            let known: BTreeSet<&str> = known.into_iter().filter(|key| *key != "global").collect();
            assert_eq!(known, given, "at {at}/: the schema's keys are left, those of values.yaml right");
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            walk(&format!("{at}/{key}"), schema, &node["properties"][key], value);
        }
    }
    let schema = schema();
    let values = chart::documents(&values_text()).unwrap().remove(0);
    for (key, value) in values.as_object().unwrap() {
        let node = &schema["properties"][key];
        assert!(node.is_object(), "values.yaml has {key}, the schema has not");
        walk(&format!("/{key}"), &schema, node, value);
    }
    let known: BTreeSet<&str> = keys(&schema["properties"]).into_iter().filter(|key| *key != "global").collect();
    assert_eq!(known, keys(&values));
}

#[test]
fn the_components_have_the_same_keys() {
    let values = chart::documents(&values_text()).unwrap().remove(0);
    fn shape(value: &Value) -> Value {
        match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
            _ => Value::Null,
        }
    }
    for name in ["fetcher", "normalizer", "store", "api"] {
        assert_eq!(shape(&values["scheduler"]), shape(&values[name]), "scheduler and {name}");
    }
}

#[test]
fn every_value_is_documented() {
    let text = values_text();
    let lines: Vec<&str> = text.lines().collect();
    let mut keys = 0;
    for (index, line) in lines.iter().enumerate() {
        let written = line.trim_start().trim_start_matches("- ");
        let is_key = written.split(':').next().is_some_and(|key| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric()) && written.contains(':')
        });
        if written.starts_with('#') || !is_key {
            continue;
        }
        keys += 1;
        let above = index.checked_sub(1).map_or("", |above| lines[above].trim_start());
        // A heading's own keys may speak for it, where it bears no value.
        let heading = written.ends_with(':') && lines.get(index + 1).is_some_and(|below| below.contains(" # "));
        let said = line.contains(" # ") || above.starts_with("# ") || heading;
        assert!(said, "values.yaml line {}: `{written}` bears no comment", index + 1);
    }
    assert!(keys > 150, "only {keys} keys were seen");
}

/// The chart's sections named `config` are the program's own: the same keys, no more and no fewer.
#[test]
fn sections_of_the_configuration_are_the_programs_own() {
    let shown = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["config", "show"])
        .env("WAYBILL__LOG__KAFKA__BROKERS", "kafka:9092")
        .env("WAYBILL__TELEMETRY__OTLP__ENDPOINT", "http://collector:4318")
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let program: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let schema = schema();
    let of_program = |pointer: &str, but: &[&str]| -> BTreeSet<String> {
        let section = program.pointer(pointer).unwrap_or_else(|| panic!("`waybill config show` lacks {pointer}"));
        let all = keys(section).into_iter().filter(|key| !but.contains(key));
        all.map(str::to_owned).collect()
    };
    let of_chart = |pointer: &str| -> BTreeSet<String> {
        let node = schema.pointer(pointer).unwrap_or_else(|| panic!("the schema lacks {pointer}"));
        keys(&node["properties"]).into_iter().map(str::to_owned).collect()
    };
    // What the chart sets itself is left out.
    for (section, but) in [
        ("scheduler", &[][..]),
        ("fetcher", &["carriers"]),
        ("normalizer", &[]),
        ("store", &[]),
        ("api", &["listen", "keys_file"]),
    ] {
        let chart = of_chart(&format!("/properties/{section}/properties/config"));
        assert_eq!(
            of_program(&format!("/{section}"), but),
            chart,
            "section {section}: the program left, the chart right"
        );
    }
    assert_eq!(of_program("/telemetry", &[]), of_chart("/properties/telemetry"));
    assert_eq!(of_program("/telemetry/otlp", &["header_files"]), of_chart("/properties/telemetry/properties/otlp"));
    assert_eq!(of_program("/admin", &["listen"]), of_chart("/properties/admin"));
    assert_eq!(of_program("/poison", &[]), of_chart("/properties/poison"));
    // A carrier's section; what the program leaves out while nothing is set is named here, and the compiler sees to it that
    // nothing is forgotten.
    let carrier = waybill_fetcher::CarrierConfig {
        enabled: None,
        source: None,
        budget: BudgetOverride {
            rate_per_second: Some(1.0),
            burst: Some(1),
            concurrency: Some(1),
            daily_quota: Some(DailyQuota {
                requests: 1,
                resets_at: "00:00".to_owned(),
                zone: "UTC".to_owned(),
                spread: true,
                extra: serde_json::Map::new(),
            }),
            min_interval_s: Some(1),
            max_interval_s: Some(1),
            extra: serde_json::Map::new(),
        },
        secrets: BTreeMap::new(),
        canary: Some(waybill_fetcher::CanaryConfig { adapters: "/a".into(), share: 0.1, mode: TrialMode::Live }),
        drift: DriftOverride::default(),
        private: Vec::new(),
    };
    let carrier = serde_json::to_value(carrier).unwrap();
    let slug = keys(&schema["properties"]["carriers"]["patternProperties"]).into_iter().next().unwrap();
    let chart = &schema["properties"]["carriers"]["patternProperties"][slug];
    for pointer in ["", "/budget", "/budget/daily_quota", "/canary", "/drift"] {
        let node = chart.pointer(&pointer.replace('/', "/properties/")).unwrap_or_else(|| panic!("no {pointer}"));
        let known = keys(&resolve(&schema, node)["properties"]);
        let program = keys(carrier.pointer(pointer).unwrap());
        assert_eq!(program, known, "carriers.<slug>{pointer}: the program left, the chart right");
    }
    assert_eq!(of_program("/fetcher/drift", &[]), of_chart("/definitions/drift"));
    let kafka = of_chart("/properties/kafka/properties/config");
    assert_eq!(of_program("/log/kafka", &["brokers", "setting_files", "setting_env", "clock_topic"]), kafka);
    // Everything else the chart sets itself, or it has no meaning in a cluster.
    let sections = of_program("", &["data_dir", "demo"]);
    let covered = ["adapters", "admin", "api", "carriers", "clickhouse", "fetcher", "log", "member", "normalizer"];
    let covered = covered.into_iter().chain(["poison", "scheduler", "store", "telemetry"]).map(str::to_owned).collect();
    assert_eq!(sections, covered, "the program left, what the chart covers right");
    assert_eq!(
        of_program("/clickhouse", &["listen", "library"]),
        ["ca_file", "password_file", "url", "user"].map(str::to_owned).into()
    );
    assert_eq!(of_program("/log", &[]), ["kafka", "partitions", "prefix"].map(str::to_owned).into());
}

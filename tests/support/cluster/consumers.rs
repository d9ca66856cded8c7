//! The example consumers (`examples/consumers`), as their readers run them: each a process on the real topic.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use waybill_log::{
    KafkaLog, KafkaOptions, Log as _, NewRecord, ReadFrom, Record, TopicPartition,
    records::{header, produce_all},
};
use waybill_schemas::headers;

use super::Commits;
use crate::{chart::root, support::PATIENCE};

/// One example, in one language.
struct Consumer {
    language: String,
    line: Vec<String>,
    child: Option<Child>,
    runs: u32,
}

fn group_of(language: &str) -> String {
    format!("examples-{language}")
}

/// All three, on one topic.
pub struct Consumers {
    folder: PathBuf,
    brokers: String,
    topic: String,
    all: Vec<Consumer>,
}

impl Consumers {
    /// Fetches what they need and starts them on `topic`, each as a group of its own.
    ///
    /// # Panics
    /// When one cannot be started.
    pub fn start(folder: &Path, brokers: &str, topic: &str, schema: &str) -> Self {
        let script = root().join("scripts/example-consumers.sh");
        let answer = Command::new("bash").arg(script).output().expect("bash runs");
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        let schema = root().join("schemas/json").join(schema).display().to_string();
        let lines = String::from_utf8(answer.stdout).expect("text");
        let all = lines.lines().map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let language = words.next().expect("a language");
            let group = group_of(&language);
            let line = words.chain([brokers.to_owned(), topic.to_owned(), schema.clone(), group]).collect();
            Consumer { language, line, child: None, runs: 0 }
        });
        let folder = folder.join("consumers");
        fs::create_dir_all(&folder).expect("a folder");
        let (all, brokers, topic) = (all.collect(), brokers.to_owned(), topic.to_owned());
        let mut consumers = Self { all, folder, brokers, topic };
        assert_eq!(consumers.all.len(), 3, "Python, Node and Java");
        consumers.launch();
        consumers
    }

    fn launch(&mut self) {
        for consumer in &mut self.all {
            let name = format!("{}.{}", consumer.language, consumer.runs);
            let out = File::create(self.folder.join(format!("{name}.out"))).expect("a file");
            let log = File::create(self.folder.join(format!("{name}.log"))).expect("a file");
            let mut command = Command::new(&consumer.line[0]);
            command.args(&consumer.line[1..]).stdin(Stdio::null()).stdout(out).stderr(log);
            consumer.child = Some(command.spawn().expect("the example starts"));
            consumer.runs += 1;
        }
    }

    /// kill -9 of all once each has printed something, and starts them again in the same groups.
    ///
    /// # Panics
    /// When one prints nothing.
    pub async fn kill_and_restart(&mut self) {
        let began = Instant::now();
        for consumer in &self.all {
            while self.seen(consumer).iter().all(Vec::is_empty) {
                assert!(
                    began.elapsed() < PATIENCE,
                    "the {} example prints nothing:\n{}",
                    consumer.language,
                    self.said(consumer)
                );
                sleep(Duration::from_millis(200)).await;
            }
        }
        // What they have committed is where the next ones go on.
        for consumer in &self.all {
            let commits = Commits::of(&self.brokers, &group_of(&consumer.language), &self.topic);
            while commits.sum() == 0 {
                assert!(
                    began.elapsed() < PATIENCE,
                    "the {} example commits nothing:\n{}",
                    consumer.language,
                    self.said(consumer)
                );
                sleep(Duration::from_millis(200)).await;
            }
        }
        self.end(Signal::KILL);
        self.launch();
    }

    fn end(&mut self, signal: Signal) {
        for consumer in &mut self.all {
            if let Some(mut child) = consumer.child.take() {
                let _ = kill_process(Pid::from_child(&child), signal);
                let _ = child.wait();
            }
        }
    }

    /// What each run of one has printed, run by run: `(ce_id, value)`.
    fn seen(&self, consumer: &Consumer) -> Vec<Vec<(String, Value)>> {
        let runs = (0..consumer.runs).map(|run| {
            let out = self.folder.join(format!("{}.{run}.out", consumer.language));
            let printed = fs::read_to_string(out).unwrap_or_default();
            // The last line of a killed run may be cut.
            let whole = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            whole
                .map(|mut line| (line["ce_id"].as_str().unwrap_or_default().to_owned(), line["value"].take()))
                .collect()
        });
        runs.collect()
    }

    /// What the last run of one said on standard error.
    fn said(&self, consumer: &Consumer) -> String {
        let log = self.folder.join(format!("{}.{}.log", consumer.language, consumer.runs - 1));
        fs::read_to_string(log).unwrap_or_default()
    }

    /// Waits until each has seen all that `wanted` answers (values of `ce_id`; a late one may still come, so it is asked
    /// again) and nothing else, and checks that none printed one twice in a run and that a restart began where the last run
    /// stopped.
    ///
    /// # Panics
    /// When one does not.
    pub async fn have_seen(&self, wanted: impl AsyncFn() -> BTreeSet<String>) -> String {
        let began = Instant::now();
        let mut said = Vec::new();
        for consumer in &self.all {
            let (runs, wanted) = loop {
                let wanted = wanted().await;
                let runs = self.seen(consumer);
                let all: BTreeSet<String> = runs.iter().flatten().map(|(id, _)| id.clone()).collect();
                if all == wanted {
                    break (runs, wanted);
                }
                if began.elapsed() > PATIENCE {
                    panic!(
                        "the {} example has seen {} of {}, {} unknown:\n{}",
                        consumer.language,
                        all.intersection(&wanted).count(),
                        wanted.len(),
                        all.difference(&wanted).count(),
                        self.said(consumer)
                    );
                }
                sleep(Duration::from_millis(200)).await;
            };
            let printed: usize = runs.iter().map(Vec::len).sum();
            for run in &runs {
                let unique: BTreeSet<&String> = run.iter().map(|(id, _)| id).collect();
                assert_eq!(unique.len(), run.len(), "the {} example printed one twice in a run", consumer.language);
            }
            if runs.len() > 1 {
                assert!(!runs[0].is_empty(), "the {} example had nothing to go on from", consumer.language);
                assert!(
                    runs[1].len() < wanted.len(),
                    "the {} example began anew: {} of {}",
                    consumer.language,
                    runs[1].len(),
                    wanted.len()
                );
            }
            said.push(format!("{} {printed} for {} events", consumer.language, wanted.len()));
        }
        said.join(", ")
    }

    /// Appends a record under a new `ce_id` twice, and behind it one that its schema refuses; checks that each example prints
    /// the first once, says that it passed the second over, and goes on. Ends them.
    ///
    /// # Panics
    /// When one does not.
    pub async fn drop_what_they_should(mut self) {
        let options = KafkaOptions { brokers: self.brokers.clone(), ..KafkaOptions::default() };
        let log = KafkaLog::connect(options).await.expect("the broker answers");
        let (at, first) = self.any_record(&log).await;
        let named = |id: &str, value: &Value| {
            let others = first.headers.iter().filter(|(name, _)| name != headers::CE_ID).cloned();
            let headers = others.chain([header(headers::CE_ID, id)]).collect();
            let value = Some(value.to_string().into());
            NewRecord { at: at.clone(), key: first.key.clone(), value, headers }
        };
        let value: Value = serde_json::from_slice(first.value.as_deref().unwrap_or_default()).expect("JSON");
        let mut broken = value.clone();
        broken["status"] = Value::from("Teleported");
        // The last one tells that the examples live on, and all before it was read: it is one partition.
        let records =
            [("repeat", &value), ("repeat", &value), ("broken", &broken), ("broken", &broken), ("last", &value)];
        let records = records.map(|(id, value)| named(id, value)).into();
        produce_all(&log, records).await.expect("they are appended");
        let began = Instant::now();
        for consumer in &self.all {
            let printed = loop {
                let printed = self.seen(consumer).pop().unwrap_or_default();
                if printed.iter().any(|(id, _)| id == "last") {
                    break printed;
                }
                assert!(
                    began.elapsed() < PATIENCE,
                    "the {} example stands:\n{}",
                    consumer.language,
                    self.said(consumer)
                );
                sleep(Duration::from_millis(200)).await;
            };
            let count = |wanted: &str| printed.iter().filter(|(id, _)| id == wanted).count();
            let (language, said) = (&consumer.language, self.said(consumer));
            assert_eq!(count("repeat"), 1, "the {language} example does not drop repeats");
            assert_eq!(count("broken"), 0, "the {language} example took what its schema refuses");
            assert_eq!(said.matches("passed over broken").count(), 1, "the {language} example says:\n{said}");
        }
        self.end(Signal::TERM);
    }

    /// Any record of the topic, and its partition.
    async fn any_record(&self, log: &KafkaLog) -> (TopicPartition, Record) {
        let partitions = log.describe(&self.topic).await.expect("the topic is there").partitions;
        for partition in 0..partitions {
            let at = TopicPartition::new(self.topic.as_str(), partition);
            let offset = log.bounds(&at).await.expect("the broker answers").first;
            let read =
                ReadFrom { at: at.clone(), offset, max_records: 1, max_bytes: 1 << 20, wait: Duration::from_secs(1) };
            if let Some(record) = log.read(read).await.expect("the broker answers").records.pop() {
                return (at, record);
            }
        }
        panic!("{} holds nothing", self.topic)
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}

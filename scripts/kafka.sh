#!/usr/bin/env bash
# One real Apache Kafka node (KRaft, one node) from its own jars: for tests and for trying things out, not for production.
#   kafka.sh fetch              fetches the jars once, pinned, into Waybill's cache folder (WAYBILL_NO_INSTALL=1 forbids it)
#   kafka.sh start DIR [PORT]   starts a node in the background and prints its pid; its log is DIR/kafka.log
#   kafka.sh run DIR [PORT]     the same, but the node ends with this script's standard input (so it never outlives a test)
# KAFKA_CONTROLLER_PORT (PORT + 1) is its internal listener. KAFKA_SASL_PORT adds a listener with SASL/SCRAM-SHA-512 for the
# user KAFKA_SASL_USER (waybill) with the password KAFKA_SASL_PASSWORD (waybill-secret). KAFKA_EPHEMERAL=1: `run` removes DIR
# at the end.
set -euo pipefail

version=4.3.1
artifact="org.apache.kafka:kafka_2.13:$version"
cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
folder="$cache/kafka-$version"

fail() {
    echo "kafka: $*" >&2
    exit 1
}

# The folder gets its name only when it is whole.
present() {
    [ -f "$folder/kafka_2.13-$version.jar" ] && [ -f "$folder/.complete" ]
}

fetch() {
    present && return
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        fail "missing: $folder (the Maven package $artifact and what it needs); WAYBILL_NO_INSTALL=1 forbids fetching it"
    fi
    for tool in java mvn flock; do
        command -v "$tool" >/dev/null || fail "missing: the program '$tool' (a JDK of 17 or newer, Maven and flock are needed for Kafka)"
    done
    mkdir -p "$cache"
    # One at a time; whoever waited finds it done. The lock goes with the process, however it ends.
    exec 9>"$cache/fetch-kafka.lock"
    flock 9
    if present; then
        # A broker must not inherit the lock.
        exec 9>&-
        return
    fi
    echo "kafka: will fetch the Maven package $artifact and what it needs (45 MB)" >&2
    echo "kafka: into $folder" >&2
    local work
    work="$(mktemp -d "$cache/kafka.XXXXXX")"
    # shellcheck disable=SC2064  # the folder's name as it is now
    trap "rm -rf '$work'" EXIT
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>waybill.local</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
  </dependencies>
</project>
POM
    # Strict checksums: a jar that was cut or changed on its way is refused.
    mvn -q -B -C -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >&2 \
        || fail "Maven could not fetch $artifact: is the repository reachable?"
    touch "$work/jars/.complete"
    rm -rf "$folder"
    mv "$work/jars" "$folder"
    rm -rf "$work"
    trap - EXIT
    present || fail "$folder is not complete: remove it and run this again"
    echo "kafka: done" >&2
    exec 9>&-
}

configure() {
    local dir=$1 port=$2 controller=$3
    mkdir -p "$dir/data"
    local listeners="PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller"
    local advertised="PLAINTEXT://127.0.0.1:$port"
    local protocols="PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
    if [ -n "${KAFKA_SASL_PORT:-}" ]; then
        listeners="$listeners,SASL://127.0.0.1:$KAFKA_SASL_PORT"
        advertised="$advertised,SASL://127.0.0.1:$KAFKA_SASL_PORT"
        protocols="$protocols,SASL:SASL_PLAINTEXT"
    fi
    cat >"$dir/server.properties" <<PROPS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=$listeners
advertised.listeners=$advertised
listener.security.protocol.map=$protocols
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=16777216
PROPS
    [ -f "$dir/data/meta.properties" ] && return
    local user="${KAFKA_SASL_USER:-waybill}" password="${KAFKA_SASL_PASSWORD:-waybill-secret}" id
    # A cluster's id is 16 bytes in base64url; the first letter keeps it from looking like an option.
    id="W$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | head -c 21 | sed 's/.$/A/')"
    java -XX:TieredStopAtLevel=1 -cp "$folder/*" kafka.tools.StorageTool format -c "$dir/server.properties" -t "$id" \
        --add-scram "SCRAM-SHA-512=[name=$user,password=$password]" >"$dir/format.log" 2>&1 \
        || fail "the node's folder cannot be prepared: $(tail -n 1 "$dir/format.log")"
}

launch() {
    local dir=$1
    # Small, and quick to start: nothing here is measured.
    setsid nohup java -Xms128m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$folder/*" \
        kafka.Kafka "$dir/server.properties" >>"$dir/kafka.log" 2>&1 </dev/null &
    node=$!
}

# Prints the pid once the node answers. After a kill it reads its logs again first, which takes a busy machine minutes.
announce() {
    local dir=$1 port=$2 began=$SECONDS
    while [ $((SECONDS - began)) -lt 240 ] && kill -0 "$node" 2>/dev/null; do
        if (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$node"
            return
        fi
        sleep 0.1
    done
    kill -9 "$node" 2>/dev/null || true
    tail -n 20 "$dir/kafka.log" >&2
    fail "the node did not start; see $dir/kafka.log"
}

command="${1:-}"
case "$command" in
fetch)
    fetch
    ;;
start | run)
    [ -n "${2:-}" ] || fail "$command wants a folder"
    mkdir -p "$2"
    dir="$(cd "$2" && pwd)" port="${3:-19092}"
    fetch
    configure "$dir" "$port" "${KAFKA_CONTROLLER_PORT:-$((port + 1))}"
    launch "$dir"
    if [ "$command" = run ]; then
        trap 'kill -9 "$node" 2>/dev/null || true; [ -z "${KAFKA_EPHEMERAL:-}" ] || rm -rf "$dir"' EXIT
        announce "$dir" "$port"
        cat >/dev/null || true
    else
        announce "$dir" "$port"
    fi
    ;;
*)
    sed -n '2,9p' "$0" >&2
    exit 2
    ;;
esac

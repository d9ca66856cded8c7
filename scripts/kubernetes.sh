#!/usr/bin/env bash
# A real Kubernetes API server with etcd, and helm: what the chart is tested with. There are no nodes and no controllers.
#
#   scripts/kubernetes.sh helm       prints where helm is; builds it once if the machine has none
#   scripts/kubernetes.sh build      builds what is missing: helm, kube-apiserver, etcd
#   scripts/kubernetes.sh run DIR    starts both on free ports of loopback, writes DIR/kubeconfig, prints `ready`;
#                                    ends both when its standard input closes
#
# All are built by Go from their modules, pinned, once, into Waybill's cache folder; a line says so first.
# Safe to run again, and by several processes at once. WAYBILL_NO_INSTALL=1 forbids building.
# Exit 3: Go is missing and nothing was built; tests outside CI take that for "skip", in CI for a failure.
set -euo pipefail

helm_version=v3.22.0
kubernetes_version=v1.34.1
etcd_version=v3.6.5

cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
helm_folder="$cache/helm-$helm_version"
server_folder="$cache/kubernetes-$kubernetes_version"

fail() {
    echo "kubernetes: $*" >&2
    exit "${code:-1}"
}

# Everything is said on standard error: standard output is the answer.
say() {
    echo "kubernetes: $*" >&2
}

helm_path() {
    command -v helm || { [ -x "$helm_folder/helm" ] && echo "$helm_folder/helm"; } || true
}

# The build's own settings decide, not the machine's.
export GOFLAGS='' GOWORK=off GO111MODULE=on CGO_ENABLED=0

# Whoever waits for the lock finds the work done. The lock goes with the process, however it ends.
lock() {
    mkdir -p "$cache"
    exec 9>"$cache/kubernetes.lock"
    flock 9
}

may_build() { # what
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        fail "missing: $1; WAYBILL_NO_INSTALL=1 forbids building it"
    fi
    command -v go >/dev/null || code=3 fail "missing: $1, and Go to build it with; install Go 1.24 or later (https://go.dev/dl)"
    command -v flock >/dev/null || fail "missing: the program 'flock', needed to build $1"
}

# A binary gets its name only when it is whole.
build() { # module folder, package, binary, linker flags
    (cd "$1" && go build -trimpath -ldflags "-s -w ${4:-}" -o "$3.part" "$2") || fail "$2 cannot be built: is the Go module proxy reachable?"
    mv -f "$3.part" "$3"
}

ensure_helm() {
    [ -z "$(helm_path)" ] || return 0
    may_build "helm $helm_version"
    lock
    [ -z "$(helm_path)" ] || return 0
    say "will build helm $helm_version from its Go module into $helm_folder (once, about 2 minutes)"
    work="$(mktemp -d "$cache/build.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    # Told its version by the linker, as its releases are.
    GOBIN="$work" go install -trimpath -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$helm_version" \
        "helm.sh/helm/v3/cmd/helm@$helm_version" || fail "helm cannot be built: is the Go module proxy reachable?"
    mkdir -p "$helm_folder"
    mv -f "$work/helm" "$helm_folder/helm"
    say "helm is built"
}

ensure_servers() {
    [ ! -x "$server_folder/kube-apiserver" ] || [ ! -x "$server_folder/etcd" ] || return 0
    may_build "kube-apiserver $kubernetes_version and etcd $etcd_version"
    lock
    [ ! -x "$server_folder/kube-apiserver" ] || [ ! -x "$server_folder/etcd" ] || return 0
    say "will build kube-apiserver $kubernetes_version and etcd $etcd_version from their Go modules"
    say "into $server_folder (once, about 8 minutes on two cores; 2 GB of Go's own caches)"
    mkdir -p "$server_folder"
    work="$(mktemp -d "$cache/build.XXXXXX")"
    trap 'rm -rf "$work"' EXIT
    if [ ! -x "$server_folder/etcd" ]; then
        (
            mkdir "$work/etcd" && cd "$work/etcd"
            go mod init local 2>/dev/null
            printf '//go:build tools\npackage local\nimport _ "go.etcd.io/etcd/server/v3/etcdmain"\n' >tools.go
            go get "go.etcd.io/etcd/server/v3@$etcd_version" && go mod tidy
        ) >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; fail "etcd's modules cannot be fetched"; }
        build "$work/etcd" go.etcd.io/etcd/server/v3 "$server_folder/etcd"
    fi
    if [ ! -x "$server_folder/kube-apiserver" ]; then
        # Kubernetes replaces its own staging modules by folders; as a dependency they are named by their releases.
        (
            mkdir "$work/kubernetes" && cd "$work/kubernetes"
            go mod init local 2>/dev/null
            described="$(go mod download -json "k8s.io/kubernetes@$kubernetes_version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')"
            sed -nE 's/^\t(k8s\.io\/[a-z-]+) v0\.0\.0$/\1/p' "$described" | while read -r module; do
                go mod edit -replace "$module=$module@v0.${kubernetes_version#v1.}"
            done
            go mod edit -require "k8s.io/kubernetes@$kubernetes_version"
            printf '//go:build tools\npackage local\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver"\n' >tools.go
            go mod tidy
        ) >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; fail "the modules of Kubernetes cannot be fetched"; }
        # Its version is told by the linker; without it helm would take it for version 0.
        minor="${kubernetes_version#v1.}"
        version=k8s.io/component-base/version
        build "$work/kubernetes" k8s.io/kubernetes/cmd/kube-apiserver "$server_folder/kube-apiserver" \
            "-X $version.gitVersion=$kubernetes_version -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
    fi
    say "kube-apiserver and etcd are built"
}

# A port of loopback where nobody answers now; whoever loses a race for it tries again with others.
free_port() {
    local port
    while :; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# Ends with this script even when it is killed, where the machine can do that.
child() {
    if command -v setpriv >/dev/null; then setpriv --pdeathsig KILL "$@"; else "$@"; fi
}

start() { # folder: sets etcd_pid, api_pid, port; fails when either dies or nothing answers in four minutes
    local dir=$1 client peer token
    client="$(free_port)" peer="$(free_port)" port="$(free_port)"
    token="$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')"
    rm -rf "$dir/etcd-data" "$dir/certs"
    # The token is known to this folder's owner only.
    (umask 077 && echo "$token,admin,1,system:masters" >"$dir/tokens.csv" && openssl genrsa -out "$dir/sa.key" 2048 2>/dev/null)
    child "$server_folder/etcd" --data-dir "$dir/etcd-data" --unsafe-no-fsync \
        --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
        --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
        --initial-cluster "default=http://127.0.0.1:$peer" >"$dir/etcd.log" 2>&1 </dev/null &
    etcd_pid=$!
    # Admission is as by default: it checks that service accounts exist and what pods may do (Pod Security).
    child "$server_folder/kube-apiserver" --etcd-servers "http://127.0.0.1:$client" \
        --bind-address 127.0.0.1 --secure-port "$port" --cert-dir "$dir/certs" --token-auth-file "$dir/tokens.csv" \
        --authorization-mode RBAC --service-cluster-ip-range 10.0.0.0/24 --service-account-issuer https://waybill.test \
        --service-account-key-file "$dir/sa.key" --service-account-signing-key-file "$dir/sa.key" \
        >"$dir/apiserver.log" 2>&1 </dev/null &
    api_pid=$!
    local began=$SECONDS
    until curl --silent --fail --noproxy '*' --max-time 10 --cacert "$dir/certs/apiserver.crt" -H "Authorization: Bearer $token" \
        "https://127.0.0.1:$port/readyz" >/dev/null 2>&1; do
        if [ $((SECONDS - began)) -gt 240 ] || ! kill -0 "$etcd_pid" 2>/dev/null || ! kill -0 "$api_pid" 2>/dev/null; then
            return 1
        fi
        sleep 0.2
    done
    (umask 077 && cat >"$dir/kubeconfig") <<KUBECONFIG
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$port", certificate-authority: "$dir/certs/apiserver.crt"}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
KUBECONFIG
}

stop() {
    kill "${api_pid:-}" "${etcd_pid:-}" 2>/dev/null || true
    wait "${api_pid:-}" "${etcd_pid:-}" 2>/dev/null || true
}

case "${1:-}" in
helm)
    ensure_helm
    helm_path
    ;;
build)
    ensure_helm
    ensure_servers
    ;;
run)
    [ -n "${2:-}" ] || fail "usage: kubernetes.sh run DIR"
    ensure_servers
    # The servers must not inherit the lock.
    exec 9>&-
    for tool in curl openssl; do
        command -v "$tool" >/dev/null || fail "missing: the program '$tool', needed to start the API server"
    done
    mkdir -p "$2"
    dir="$(cd "$2" && pwd)"
    trap stop EXIT
    trap 'exit 143' TERM INT HUP
    for attempt in 1 2 3; do
        if start "$dir"; then
            echo ready
            cat >/dev/null
            exit 0
        fi
        stop
        say "attempt $attempt: the API server did not start; the end of its log:"
        tail -n 3 "$dir/apiserver.log" "$dir/etcd.log" >&2
    done
    fail "the API server does not start; its logs are in $dir"
    ;;
*)
    fail "usage: kubernetes.sh helm | build | run DIR"
    ;;
esac

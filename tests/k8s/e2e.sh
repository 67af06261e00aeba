#!/usr/bin/env bash
# What schemagate promises on Kubernetes, on the cluster that kubectl points to.
#
#   tests/k8s/e2e.sh IMAGE [SCENARIO]...
#
# IMAGE is schemagate's, as the nodes know it (kind load docker-image, or a registry that they can pull from). Without scenarios
# all of them run: race, sidecar, jobs, rollout, killed, sequence. Ends with 1 if one of them fails, and leaves nothing behind.
#
#   POSTGRES_IMAGE   the server and the "application", a shell and psql (default postgres:17)
#   POSTGRES_UID     the user that it runs as (default 999, the public image's)
#   KEEP=1           keep the namespace, to look at it
#
# Pod Security `restricted` is enforced in the namespace: a pod that does not fit is refused.
set -euo pipefail

all=(race sidecar jobs rollout killed sequence)
usage() {
    echo "usage: tests/k8s/e2e.sh IMAGE [SCENARIO]...   (scenarios: ${all[*]})" >&2
    exit 2
}
[ $# -gt 0 ] || usage
image=$1
shift
scenarios=("$@")
[ $# -gt 0 ] || scenarios=("${all[@]}")
for scenario in "${scenarios[@]}"; do
    [[ " ${all[*]} " == *" $scenario "* ]] || usage
done
postgres_image=${POSTGRES_IMAGE:-postgres:17}
postgres_uid=${POSTGRES_UID:-999}
namespace=schemagate-e2e-$(date +%s)-$$
password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')

# === words that the scenarios are made of ===

k() { kubectl --namespace "$namespace" "$@"; }

say() { echo "       $*"; }

proves() { say "${FUNCNAME[1]}: $*"; }

fail() {
    echo "       FAILED: $*" >&2
    exit 1
}

# SECONDS WHAT COMMAND...: until the command succeeds; else the scenario has failed, for this reason.
eventually() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $what"
        sleep 1
    done
}

# WHAT WANTED FOUND
equal() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', found '$3'"
}

# For `eventually`: what a command prints is this, or matches this.
prints() { [ "$("${@:2}")" = "$1" ]; }
matches() { [[ "$("${@:2}")" =~ $1 ]]; }

sql() { # DATABASE STATEMENT
    k exec postgres-0 -- psql -qAtX -v ON_ERROR_STOP=1 -U postgres -d "$1" -c "$2"
}

database() { # NAME: an empty one, and the secret that leads to it
    sql postgres "CREATE DATABASE \"$1\""
    k create secret generic "$1" --from-literal=url="postgres://postgres:$password@postgres:5432/$1" >/dev/null
}

# NAME [FILE=TEXT]...: a folder of migrations. A new release has a new name: pods of the old one keep what they were made with.
migrations() {
    local name=$1
    shift
    k create configmap "$name" "${@/#/--from-literal=}" >/dev/null
}

apply() { k apply -f - >/dev/null; }

# What Pod Security `restricted` asks for.
pod_security='{runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}'
container_security='{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}'

# NAME COMMAND DATABASE [FIELD]...: schemagate as one container in flow style; more fields of the container come last.
schemagate() {
    local fields
    fields=$(printf ', %s' "${@:4}")
    cat <<EOF
{name: $1, image: "$image", imagePullPolicy: IfNotPresent, args: [$2], securityContext: $container_security,
 volumeMounts: [{name: migrations, mountPath: /migrations, readOnly: true}],
 resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 128Mi}}${fields%, }}
EOF
}

# DATABASE [NAME: VALUE]...: the field `env`.
env_of() {
    local variable entries
    entries="{name: DATABASE_URL, valueFrom: {secretKeyRef: {name: $1, key: url}}}"
    for variable in "${@:2}"; do
        entries+=", {name: ${variable%%: *}, value: \"${variable#*: }\"}"
    done
    echo "env: [$entries]"
}

# NAME DATABASE COMMAND [FIELD]...: psql and a shell, as schemagate's neighbour. The command has no single quotes, and one line.
neighbour() {
    local fields
    fields=$(printf ', %s' "${@:4}")
    cat <<EOF
{name: $1, image: "$postgres_image", imagePullPolicy: IfNotPresent, command: [sh, -c, '$3'], $(env_of "$2"),
 securityContext: $container_security${fields%, }}
EOF
}

# An application that needs the table `users` from its first moment on: without it, it ends.
application() { # DATABASE
    # shellcheck disable=SC2016  # for the shell in the pod
    local query='psql -qX -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "SELECT email FROM users LIMIT 1"'
    neighbour app "$1" "while $query; do sleep 1; done; exit 1" \
        "readinessProbe: {exec: {command: [sh, -c, '$query']}, timeoutSeconds: 5, periodSeconds: 2}"
}

deployment() { # NAME REPLICAS MIGRATIONS INIT_CONTAINER APPLICATION
    apply <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: $2
  progressDeadlineSeconds: 60
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 5
      securityContext: $pod_security
      initContainers: [$4]
      containers: [$5]
      volumes: [{name: migrations, configMap: {name: $3}}]
EOF
}

# NAME MIGRATIONS CONTAINER [FIELD_OF_THE_POD]...: a Job with the policy that the README recommends. $volume is one more volume.
job() {
    apply <<EOF
apiVersion: batch/v1
kind: Job
metadata: {name: $1}
spec:
  backoffLimit: 6
  activeDeadlineSeconds: 300
  podFailurePolicy:
    rules:
      - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}
      - {action: FailJob, onExitCodes: {containerName: $1, operator: In, values: [2, 5, 6, 7]}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      restartPolicy: Never
      enableServiceLinks: false
      automountServiceAccountToken: false
      securityContext: $pod_security
      containers: [$3]
$(printf '      %s\n' "${@:4}")
      volumes: [{name: migrations, configMap: {name: $2}}${volume:+, $volume}]
EOF
}

# The condition that a Job has ended with, and why.
job_end() { k get job "$1" -o jsonpath='{range .status.conditions[?(@.status=="True")]}{.type}={.reason} {end}' | grep -oE '(Complete|Failed)=[A-Za-z]*'; }

# NAME SECONDS WANTED: Complete, or Failed=REASON. It waits for either end, so that nobody waits for success in vain.
job_ends() {
    eventually "$2" "Job $1 has ended" job_end "$1"
    case $(job_end "$1") in
        "$3"*) ;;
        *)
            k logs --selector "job-name=$1" --all-containers --tail=20 --prefix >&2 || true
            fail "Job $1 ended with $(job_end "$1"), not with $3"
            ;;
    esac
}

# JOB CONTAINER: the exit codes of its pods, oldest first.
exit_codes() {
    k get pods --selector "job-name=$1" --sort-by=.metadata.creationTimestamp \
        -o jsonpath="{range .items[*].status.containerStatuses[?(@.name==\"$2\")]}{.state.terminated.exitCode} {end}"
}

pods() { # APP JSONPATH_OF_A_POD: one line a pod
    k get pods --selector "app=$1" --field-selector=status.phase!=Succeeded -o jsonpath="{range .items[*]}$2{\"\\n\"}{end}"
}

ready='{.status.conditions[?(@.type=="Ready")].status}'

# === scenarios ===

race() {
    proves 'three replicas start at once, their init containers race: each migration is applied once, all three go on'
    database race
    # Long enough for the third pod to be there before the first one has finished.
    migrations race "0001_users.sql=CREATE TABLE users (email text); CREATE TABLE ran (version int);" \
        "0002_slow.sql=INSERT INTO ran VALUES (2); SELECT pg_sleep(10);" "0003_last.sql=INSERT INTO ran VALUES (3);"
    deployment race 3 race "$(schemagate migrate migrate race "$(env_of race)")" "$(application race)"
    eventually 180 "three pods are ready" prints 3 k get deployment race -o jsonpath='{.status.readyReplicas}'

    local ended last_start first_end
    ended='{.status.initContainerStatuses[0].state.terminated'
    last_start=$(pods race "$ended.startedAt}" | sort | tail -1)
    first_end=$(pods race "$ended.finishedAt}" | sort | head -1)
    [[ $last_start < $first_end ]] || fail "no race: one was done at $first_end, before the last one started at $last_start"
    equal "exit codes and restarts of the init containers" "0 0,0 0,0 0" \
        "$(pods race "$ended.exitCode} {.status.initContainerStatuses[0].restartCount}" | paste -sd,)"
    equal "what ran" "2,3" "$(sql race 'SELECT string_agg(version::text, $$,$$ ORDER BY version) FROM ran')"
    equal "rows in the history" 3 "$(sql race 'SELECT count(*) FROM schemagate.history')"
    equal "applications that were restarted" "0,0,0" "$(pods race '{.status.containerStatuses[0].restartCount}' | paste -sd,)"
    say "all started by $last_start, none had ended before $first_end"
}

sidecar() {
    proves 'a native sidecar holds its application back until the schema is there; its readiness follows the schema'
    database sidecar
    migrations sidecar "0001_users.sql=CREATE TABLE users (email text);"
    deployment sidecar 1 sidecar "$(schemagate schema sidecar sidecar "$(env_of sidecar 'SCHEMAGATE_POLL_INTERVAL: 1s')" \
        'restartPolicy: Always' 'ports: [{name: schema, containerPort: 9911}]' \
        'startupProbe: {httpGet: {path: /startupz, port: schema}, periodSeconds: 1, failureThreshold: 300}' \
        'readinessProbe: {httpGet: {path: /readyz, port: schema}, periodSeconds: 1, failureThreshold: 1}' \
        'livenessProbe: {httpGet: {path: /livez, port: schema}, periodSeconds: 5}')" "$(application sidecar)"
    eventually 60 "the sidecar runs" matches . pods sidecar '{.status.initContainerStatuses[0].state.running.startedAt}'
    local turn state='{.status.initContainerStatuses[0].started} {.status.containerStatuses[0].state.waiting.reason}'
    for turn in 1 2 3 4 5; do
        equal "the application's state before the migration" "false PodInitializing" "$(pods sidecar "$state")"
        sleep 1
    done

    job migrate-sidecar sidecar "$(schemagate migrate-sidecar migrate sidecar "$(env_of sidecar)")"
    job_ends migrate-sidecar 120 Complete
    eventually 60 "the pod is ready after the migration" prints True pods sidecar "$ready"

    sql sidecar 'UPDATE schemagate.history SET checksum = reverse(checksum)'
    eventually 60 "the pod is not ready while the history does not match" prints False pods sidecar "$ready"
    sql sidecar 'UPDATE schemagate.history SET checksum = reverse(checksum)'
    eventually 60 "the pod is ready again" prints True pods sidecar "$ready"
    equal "restarts of sidecar and application" "0 0" \
        "$(pods sidecar '{.status.initContainerStatuses[0].restartCount} {.status.containerStatuses[0].restartCount}')"
    say "held back after $turn looks, started by the migration; unready and ready again without a restart"
}

jobs() {
    proves 'a Job whose migration fails in SQL fails once; one whose database comes late is tried again'
    database jobs
    migrations failing "0001_users.sql=CREATE TABLE users (email text);" "0002_broken.sql=ALTER TABLE nowhere ADD COLUMN a int;"
    job failing failing "$(schemagate failing migrate jobs "$(env_of jobs)")"
    job_ends failing 120 Failed=PodFailurePolicy
    equal "exit codes of the Job's pods" "5 " "$(exit_codes failing failing)"
    local message
    message=$(k get pods --selector job-name=failing -o jsonpath='{.items[0].status.containerStatuses[0].state.terminated.message}')
    [[ $message == *0002* && $message == *nowhere* ]] || fail "the termination message does not say why: $message"
    equal "the history" 0001 "$(sql jobs 'SELECT string_agg(version, $$,$$) FROM schemagate.history')"

    database late
    k create secret generic late-by-name --from-literal=url="postgres://postgres:$password@late:5432/late" >/dev/null
    migrations late "0001_users.sql=CREATE TABLE users (email text);"
    job late late "$(schemagate late migrate late "$(env_of late-by-name 'SCHEMAGATE_WAIT_TIMEOUT: 3s')")"
    eventually 120 "the Job's first pod gives up with 3" prints "3" pods_first_code late
    apply <<EOF
apiVersion: v1
kind: Service
metadata: {name: late}
spec: {selector: {app: postgres}, ports: [{port: 5432}]}
EOF
    job_ends late 240 Complete
    equal "the history" 0001 "$(sql late 'SELECT string_agg(version, $$,$$) FROM schemagate.history')"
    say "failed once: $message" | head -1
    say "late: $(exit_codes late late)"
}
pods_first_code() { exit_codes "$1" "$1" | cut -d' ' -f1; }

rollout() {
    proves 'a rollout with a broken migration never takes the old pods away; undo, or a fix, is all it needs'
    database rollout
    migrations rollout-1 "0001_users.sql=CREATE TABLE users (email text);"
    migrations rollout-2 "0001_users.sql=CREATE TABLE users (email text);" "0002_age.sql=ALTER TABLE user ADD COLUMN age int;"
    migrations rollout-3 "0001_users.sql=CREATE TABLE users (email text);" "0002_age.sql=ALTER TABLE users ADD COLUMN age int;"
    local init old
    init=$(schemagate migrate migrate rollout "$(env_of rollout)")
    deployment rollout 2 rollout-1 "$init" "$(application rollout)"
    k rollout status deployment/rollout --timeout=120s >/dev/null || fail "the first release does not start"
    old=$(ready_pods rollout)

    deployment rollout 2 rollout-2 "$init" "$(application rollout)"
    local failed='{.status.initContainerStatuses[0].state.terminated.exitCode}{.status.initContainerStatuses[0].lastState.terminated.exitCode}'
    eventually 90 "the new pod's init container ends with 5" matches 5 pods rollout "$failed"
    local end=$((SECONDS + 120))
    until [ "$(k get deployment rollout -o jsonpath='{.status.conditions[?(@.type=="Progressing")].reason}')" = ProgressDeadlineExceeded ]; do
        [ "$SECONDS" -lt "$end" ] || fail "the rollout is not reported as failed"
        equal "the old pods while the rollout fails" "$old" "$(ready_pods rollout)"
        sleep 2
    done
    k rollout undo deployment/rollout >/dev/null
    k rollout status deployment/rollout --timeout=60s >/dev/null || fail "undo does not settle"
    equal "the old pods after undo" "$old" "$(ready_pods rollout)"

    deployment rollout 2 rollout-3 "$init" "$(application rollout)"
    k rollout status deployment/rollout --timeout=120s >/dev/null || fail "the fixed release does not roll out"
    equal "the history" 0001,0002 "$(sql rollout 'SELECT string_agg(version, $$,$$ ORDER BY version) FROM schemagate.history')"
    say "the two old pods stayed ready, without a restart, until the fixed release replaced them"
}
# Name and restarts of each application that is ready.
ready_pods() { pods "$1" "$ready {.metadata.uid} {.status.containerStatuses[0].restartCount}" | grep '^True' | sort; }

killed() {
    proves 'a pod killed in the middle of a migration (SIGKILL, then deleted) leaves nothing half done; the next pod completes it'
    database killed
    migrations killed "0001_ran.sql=CREATE TABLE ran (version int);" \
        "0002_slow.sql=INSERT INTO ran VALUES (2); CREATE TABLE half (a int); SELECT pg_sleep(10);" "0003_last.sql=INSERT INTO ran VALUES (3);"
    # A neighbour of the same user sees the processes of the pod, as schemagate's own image has no kill.
    job killed killed "$(schemagate killed migrate killed "$(env_of killed)")" 'shareProcessNamespace: true' \
        "initContainers: [$(neighbour killer killed 'sleep 600' 'restartPolicy: Always')]"
    eventually 120 "the slow migration runs" in_the_middle killed
    local first second
    first=$(k get pods --selector job-name=killed -o jsonpath='{.items[0].metadata.name}')
    # shellcheck disable=SC2016  # for the shell in the pod
    k exec "$first" -c killer -- sh -c 'for p in /proc/[0-9]*; do read -r name <$p/comm; [ "$name" != schemagate ] || kill -9 "${p#/proc/}"; done'
    eventually 60 "the killed container is reported" prints 137 \
        k get pod "$first" -o jsonpath='{.status.containerStatuses[?(@.name=="killed")].state.terminated.exitCode}'

    eventually 120 "the second pod runs the slow migration" in_the_middle killed "$first"
    equal "what the killed one left" "" "$(sql killed 'SELECT version FROM ran')"
    second=$(k get pods --selector job-name=killed --field-selector=status.phase=Running -o jsonpath='{.items[0].metadata.name}')
    k delete pod "$second" --wait=false >/dev/null
    job_ends killed 240 Complete
    equal "what ran" "2,3" "$(sql killed 'SELECT string_agg(version::text, $$,$$ ORDER BY version) FROM ran')"
    equal "the history" 0001,0002,0003 "$(sql killed 'SELECT string_agg(version, $$,$$ ORDER BY version) FROM schemagate.history')"
    equal "locks that are left" 0 "$(sql killed "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")"
    say "killed: $first; deleted: $second; each migration ran once"
}
# DATABASE [POD]: a session other than that pod's sleeps in the migration.
in_the_middle() {
    prints 1 sql "$1" "SELECT count(*) FROM pg_stat_activity WHERE datname = '$1' AND wait_event = 'PgSleep' AND application_name NOT LIKE '%${2:-nobody}%'"
}

sequence() {
    proves 'Jobs in waves as Argo CD runs them: backup, migrate, application, verify, contract; without the backup, nothing is lost'
    database sequence
    local users='0001_users.sql=CREATE TABLE users (email text, fax text);'
    local next='0002_phone.sql=ALTER TABLE users ADD COLUMN phone text;'
    local drop='0003_fax.sql=-- schemagate: phase=contract
-- schemagate: approve=destructive reason="nobody reads it any more"
ALTER TABLE users DROP COLUMN fax;'
    migrations release-1 "$users"
    migrations release-2 "$users" "$next" "$drop"
    apply <<EOF
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: backup}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
EOF
    local env contract
    env=$(env_of sequence 'SCHEMAGATE_REQUIRE_BACKUP: 1h')
    contract=$(env_of sequence 'SCHEMAGATE_REQUIRE_BACKUP: 1h' 'SCHEMAGATE_PHASE: contract')
    job release-1 release-1 "$(schemagate release-1 migrate sequence "$env")"
    job_ends release-1 120 Complete

    # Without the wave before it, the contract step is held: the Job fails at once, nothing is lost.
    job too-early release-2 "$(schemagate too-early migrate sequence "$contract")"
    job_ends too-early 120 Failed=PodFailurePolicy
    equal "exit codes without a backup" "7 " "$(exit_codes too-early too-early)"
    equal "the column" 1 "$(column fax)"

    # Wave -1.
    # shellcheck disable=SC2016  # for the shell in the pod
    volume='{name: backup, persistentVolumeClaim: {claimName: backup}}' job backup release-2 "$(neighbour backup sequence \
        'pg_dump --format=custom --file=/backup/before.dump "$DATABASE_URL" && pg_restore --list /backup/before.dump | grep "TABLE DATA public users" && psql -X -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "INSERT INTO schemagate.journal (run, history, event, actor) VALUES (gen_random_uuid(), \$\$backup\$\$, \$\$backup\$\$, SESSION_USER)"' \
        "volumeMounts: [{name: backup, mountPath: /backup}]")"
    job_ends backup 180 Complete
    # Wave 0.
    job migrate release-2 "$(schemagate migrate migrate sequence "$env")"
    job_ends migrate 120 Complete
    # Wave 1: it starts behind the gate that the schema is.
    deployment sequence 2 release-2 "$(schemagate wait 'wait, --for, schema' sequence "$env")" "$(application sequence)"
    k rollout status deployment/sequence --timeout=120s >/dev/null || fail "the application does not start"
    # Wave 2.
    job verify release-2 "$(schemagate verify verify sequence "$env")"
    job_ends verify 120 Complete
    # After the rollout.
    equal "the column before the contract step" 1 "$(column fax)"
    job contract release-2 "$(schemagate contract migrate sequence "$contract")"
    job_ends contract 120 Complete
    equal "the columns at the end" "email,phone" \
        "$(sql sequence "SELECT string_agg(column_name::text, ',' ORDER BY 1) FROM information_schema.columns WHERE table_name = 'users' AND table_schema = 'public'")"
    say "held without a backup; then backup, migrate, application, verify, contract"
}
column() { sql sequence "SELECT count(*) FROM information_schema.columns WHERE table_name = 'users' AND column_name = '$1'"; }

# === the run ===

cleanup() {
    [ -z "${running:-}" ] || kill "$running" 2>/dev/null || true
    [ -z "${KEEP:-}" ] || { echo "kept: namespace $namespace"; return; }
    kubectl delete namespace "$namespace" --wait=true --timeout=120s >/dev/null || echo "namespace $namespace is still there" >&2
}

server() {
    k create secret generic postgres --from-literal=password="$password" >/dev/null
    apply <<EOF
apiVersion: v1
kind: Service
metadata: {name: postgres}
spec: {selector: {app: postgres}, ports: [{port: 5432}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: postgres}
spec:
  serviceName: postgres
  selector: {matchLabels: {app: postgres}}
  template:
    metadata: {labels: {app: postgres}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: $postgres_uid, runAsGroup: $postgres_uid, fsGroup: $postgres_uid, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: postgres
          image: "$postgres_image"
          imagePullPolicy: IfNotPresent
          env:
            - {name: POSTGRES_PASSWORD, valueFrom: {secretKeyRef: {name: postgres, key: password}}}
            - {name: PGDATA, value: /var/lib/postgresql/data/pgdata}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          readinessProbe: {exec: {command: [pg_isready, -h, 127.0.0.1, -U, postgres]}, timeoutSeconds: 5, periodSeconds: 1}
          volumeMounts: [{name: data, mountPath: /var/lib/postgresql/data}]
      volumes: [{name: data, emptyDir: {}}]
EOF
    k rollout status statefulset/postgres --timeout=300s >/dev/null ||
        { k describe pods >&2; fail "PostgreSQL does not start from $postgres_image"; }
}

kubectl create namespace "$namespace" >/dev/null
trap cleanup EXIT
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
server

failed=()
for scenario in "${scenarios[@]}"; do
    began=$SECONDS
    # In the background, so that `set -e` holds in it: as the condition of an `if` it would not.
    "$scenario" &
    running=$!
    if wait "$running"; then
        echo "ok     $scenario ($((SECONDS - began)) s)"
    else
        echo "FAILED $scenario ($((SECONDS - began)) s)"
        failed+=("$scenario")
        k get pods,jobs >&2 || true
        k get events --sort-by=.lastTimestamp | tail -15 >&2 || true
    fi
done
[ ${#failed[@]} = 0 ] || { echo "FAILED: ${failed[*]}"; exit 1; }
echo "ok: ${scenarios[*]}"

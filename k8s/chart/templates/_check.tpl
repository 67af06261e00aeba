{{/*
What is refused, with what to write instead; all of it at once. The schema of the values holds names and types, this holds
what a schema cannot say in a sentence.
*/}}
{{- define "schemagate.check" -}}
{{- $m := .Values.migrations -}}
{{- if $m.enabled -}}
{{- $wrong := list -}}
{{- $timeout := include "schemagate.timeout" . | int64 -}}
{{- $jobs := include "schemagate.hasJobs" . -}}

{{- if kindIs "string" $m.command -}}
{{- $list := without (splitList " " $m.command) "" | join ", " -}}
{{- if regexMatch "[^A-Za-z0-9 _./:@=+-]" $m.command }}{{ $list = printf "sh, -c, %s" (toRawJson $m.command) }}{{ end -}}
{{- $wrong = append $wrong (printf "migrations.command is a string, and nothing here would split it: write command: [%s]" $list) -}}
{{- else -}}
{{- if and $m.command (eq $m.mode "sidecar") -}}
{{- $wrong = append $wrong "migrations.mode is sidecar, which cannot run another tool (migrations.command): take job or initContainer" -}}
{{- end -}}
{{- if and $m.commandImage (not $m.command) -}}
{{- $wrong = append $wrong "migrations.commandImage is the image of migrations.command, which is empty: name the command, or set image.repository and image.tag" -}}
{{- end -}}
{{- if and $m.verify.enabled $m.command -}}
{{- $wrong = append $wrong "migrations.verify looks at the history of a folder of migrations, and migrations.command brings another tool: set verify.enabled to false" -}}
{{- end -}}
{{- end -}}

{{- if lt $timeout 10 -}}
{{- $wrong = append $wrong (printf "migrations.timeout is %d s, and a run without a limit, or with one so short, cannot be told from one that hangs: write at least 10" $timeout) -}}
{{- end -}}

{{- if eq $m.mode "job" -}}
{{- if $m.job.hooks -}}
{{- $helm := include "schemagate.seconds" (dict "value" $m.helmTimeout "name" "migrations.helmTimeout") | int64 -}}
{{- $longest := max $timeout ($m.backup.enabled | ternary (include "schemagate.backupTimeout" . | int64) 0) -}}
{{- if gt (add $longest 30) $helm -}}
{{- $name := gt $longest $timeout | ternary "migrations.backup.timeout" "migrations.timeout" -}}
{{- $wrong = append $wrong (printf "%s is %d s and its Job ends 30 s later, but Helm gives up after migrations.helmTimeout, %d s, and leaves it running: set helmTimeout to %ds or more and run helm with --timeout %ds, or set %s to %d or less" $name $longest $helm (add $longest 30) (add $longest 30) $name (sub $helm 30)) -}}
{{- end -}}
{{- end -}}
{{- if and $m.job.name (not (and $m.job.hooks (has "before-hook-creation" $m.job.deletePolicy))) -}}
{{- $wrong = append $wrong (printf "migrations.job.name is %s, and a Job cannot be changed once it is there, so the next upgrade would fail: leave job.name empty (its name gets a hash then), or keep before-hook-creation in job.deletePolicy" $m.job.name) -}}
{{- end -}}
{{- end -}}

{{- if and (eq $m.mode "argocd") (not (kindIs "invalid" $m.ttlSecondsAfterFinished)) -}}
{{- $wrong = append $wrong "migrations.ttlSecondsAfterFinished is set and migrations.mode is argocd: the Job would vanish before Argo CD has seen its end, and the sync would wait for ever; leave it empty" -}}
{{- end -}}

{{- if not $jobs -}}
{{- range $name := list "backup" "verify" "networkPolicy" -}}
{{- if (index $m $name).enabled -}}
{{- $wrong = append $wrong (printf "migrations.%s belongs to Jobs, and with migrations.mode %s the pod is your application's: set %s.enabled to false, or take mode job or argocd" $name $m.mode $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and $m.backup.enabled (eq $m.mode "job") (not $m.job.hooks) -}}
{{- $wrong = append $wrong "migrations.backup is enabled and migrations.job.hooks is empty: nothing would put the backup before the migration; write hooks: [pre-install, pre-upgrade]" -}}
{{- end -}}
{{- if and $m.backup.enabled (not $m.backup.existingClaim) -}}
{{- $wrong = append $wrong "migrations.backup.existingClaim is empty: name the PersistentVolumeClaim that takes the backups" -}}
{{- end -}}
{{- if and $m.backup.enabled (not $m.existingSecret) -}}
{{- $wrong = append $wrong "migrations.backup needs the database's address in a Secret: set migrations.existingSecret" -}}
{{- end -}}

{{- $names := list -}}
{{- range $m.env }}{{ $names = append $names .name }}{{ end -}}
{{- $owned := dict "SCHEMAGATE_DEADLINE" "timeout" "SCHEMAGATE_WAIT" "waitForDatabase" "SCHEMAGATE_DIR" "source.dir" "SCHEMAGATE_AUTO_MIGRATE" "sidecar.autoMigrate" "SCHEMAGATE_EXEC_ONCE" "execOnce" "SCHEMAGATE_PUSHGATEWAY_URL" "pushgatewayUrl" "SCHEMAGATE_LISTEN" "sidecar.port" "SCHEMAGATE_ROLE" "role" -}}
{{- range $name := $names | uniq -}}
{{- if hasKey $owned $name -}}
{{- $wrong = append $wrong (printf "migrations.env has %s: set migrations.%s instead" $name (get $owned $name)) -}}
{{- end -}}
{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- $wrong = append $wrong "migrations.env has a name twice" -}}
{{- end -}}
{{- if and $m.existingSecret (has "SCHEMAGATE_DATABASE_URL" $names) -}}
{{- $wrong = append $wrong "migrations.env has SCHEMAGATE_DATABASE_URL, and so has migrations.existingSecret: take one of them" -}}
{{- end -}}
{{- $url := false -}}
{{- range $names }}{{ if regexMatch "^(SCHEMAGATE_DATABASE_URL|DATABASE_URL)(_FILE)?$|^PGHOST$|^PGSERVICE$" . }}{{ $url = true }}{{ end }}{{ end -}}
{{- if not (or $m.existingSecret $m.envFrom $url) -}}
{{- $wrong = append $wrong "nothing says where the database is: set migrations.existingSecret to the name of a Secret with its address under the key url, or migrations.envFrom, or PGHOST in migrations.env" -}}
{{- end -}}

{{- with $m.source -}}
{{- if eq .type "configMap" -}}
{{- if and (not .configMap.name) (not .configMap.files) -}}
{{- $wrong = append $wrong "migrations.source.type is configMap: set source.configMap.name to one that is there, or source.configMap.files to the migrations" -}}
{{- end -}}
{{- if and .configMap.name .configMap.files -}}
{{- $wrong = append $wrong "migrations.source.configMap has a name and files: take one of them" -}}
{{- end -}}
{{- if and .configMap.archive (not (hasSuffix ".tar.gz" .configMap.archive)) -}}
{{- $wrong = append $wrong (printf "migrations.source.configMap.archive is %s: schemagate knows an archive by its name, which ends with .tar.gz" .configMap.archive) -}}
{{- end -}}
{{- $size := 0 -}}
{{- range $name, $text := .configMap.files }}{{ $size = add $size (len $name) (len $text) }}{{ end -}}
{{- if gt $size 1048576 -}}
{{- $wrong = append $wrong (printf "migrations.source.configMap.files has %d bytes, and a ConfigMap ends at 1048576: make one with a .tar.gz of the folder and name it in source.configMap.name and .archive, or take source.type image" $size) -}}
{{- end -}}
{{- else if eq .type "imageVolume" -}}
{{- if not .imageVolume.reference -}}
{{- $wrong = append $wrong "migrations.source.type is imageVolume: set source.imageVolume.reference to the image with the migrations" -}}
{{- end -}}
{{- if semverCompare "<1.33.0-0" $.Capabilities.KubeVersion.Version -}}
{{- $wrong = append $wrong (printf "migrations.source.type is imageVolume, which Kubernetes has from 1.33 on (by default from 1.35 on), and this is %s: take configMap, emptyDir or image" $.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- else if eq .type "emptyDir" -}}
{{- if not (and .emptyDir.image (or .emptyDir.path .emptyDir.command)) -}}
{{- $wrong = append $wrong "migrations.source.type is emptyDir: set source.emptyDir.image and source.emptyDir.path to the application's image and the folder in it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $wrong -}}
{{- fail (printf "\nschemagate: %s" (join "\nschemagate: " $wrong)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "schemagate.backupTimeout" -}}
{{- include "schemagate.seconds" (dict "value" .Values.migrations.backup.timeout "name" "migrations.backup.timeout") -}}
{{- end -}}

{{/*
Pods that wait for the Job never become ready before a hook that comes after them, and Helm (with --wait) never comes to that
hook: neither goes on. Call with the resolved context.
*/}}
{{- define "schemagate.checkWaiting" -}}
{{- $m := .Values.migrations -}}
{{- if and (eq $m.mode "job") (regexMatch "post-(install|upgrade)" (join "," $m.job.hooks)) -}}
{{- fail (printf "\nschemagate: migrations.job.hooks is [%s], and these pods wait for the schema: the hook waits for the pods, and they for the hook; write [pre-install, pre-upgrade], or [] for a Job beside the pods" (join ", " $m.job.hooks)) -}}
{{- end -}}
{{- if and $m.command (not $m.execOnce) -}}
{{- fail "\nschemagate: these pods cannot know whether migrations.command has run: set migrations.execOnce, say to the image's tag" -}}
{{- end -}}
{{- end -}}

{{- define "schemagate.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Call with (dict "root" . "secret" …). */}}
{{- define "schemagate.databaseUrl" -}}
valueFrom:
  secretKeyRef:
    name: {{ .secret }}
    key: {{ .root.Values.migrations.existingSecretKey }}
{{- end -}}

{{/* The settings. Call with (dict "root" . "role" …): migrate, sidecar, gate, verify. */}}
{{- define "schemagate.env" -}}
{{- $root := .root -}}
{{- $m := .root.Values.migrations -}}
{{- $own := list -}}
{{- range $m.env }}{{ $own = append $own .name }}{{ end -}}
{{- $looks := or (eq .role "gate") (and (eq .role "sidecar") (ne $m.mode "sidecar")) -}}
{{- $watch := $looks | ternary $m.watchSecret "" -}}
{{- with $watch | default $m.existingSecret }}
- name: SCHEMAGATE_DATABASE_URL
  {{- include "schemagate.databaseUrl" (dict "root" $root "secret" .) | nindent 2 }}
{{- end }}
{{- with include "schemagate.dir" $root }}
- name: SCHEMAGATE_DIR
  value: {{ . | quote }}
{{- end }}
{{- if and $m.role (not $watch) }}
- name: SCHEMAGATE_ROLE
  value: {{ $m.role | quote }}
{{- end }}
{{- with $m.execOnce }}
- name: SCHEMAGATE_EXEC_ONCE
  value: {{ . | quote }}
{{- end }}
{{- if ne .role "gate" }}
- name: SCHEMAGATE_DEADLINE
  value: {{ include "schemagate.timeout" $root }}s
{{- if not $m.waitForDatabase }}
- name: SCHEMAGATE_WAIT
  value: "false"
{{- end }}
{{- end }}
{{- if not (has "SCHEMAGATE_AUTH_GRACE" $own) }}
- name: SCHEMAGATE_AUTH_GRACE
  value: 60s
{{- end }}
{{- if and (eq .role "sidecar") (eq $m.mode "sidecar") $m.sidecar.autoMigrate }}
- name: SCHEMAGATE_AUTO_MIGRATE
  value: "true"
{{- end }}
{{- if and (eq .role "sidecar") (ne (int $m.sidecar.port) 9911) }}
- name: SCHEMAGATE_LISTEN
  value: {{ printf "[::]:%d" (int $m.sidecar.port) | quote }}
{{- end }}
{{- if ne .role "sidecar" }}
{{- with $m.pushgatewayUrl }}
- name: SCHEMAGATE_PUSHGATEWAY_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if and (eq .role "verify") $m.verify.assertions }}
- name: SCHEMAGATE_VERIFY_DIR
  value: /assertions
{{- end }}
{{- with $m.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where the migrations are, if it is not where schemagate looks anyway. */}}
{{- define "schemagate.dir" -}}
{{- with .Values.migrations.source -}}
{{- if and (eq .type "configMap") .configMap.archive -}}
{{ .dir }}/{{ .configMap.archive }}
{{- else if ne .dir "/migrations" -}}
{{ .dir }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" . "role" …). */}}
{{- define "schemagate.volumeMounts" -}}
{{- $m := .root.Values.migrations -}}
{{- if ne $m.source.type "image" }}
- name: schemagate-migrations
  mountPath: {{ $m.source.dir }}
  readOnly: true
  {{- if eq $m.source.type "imageVolume" }}
  {{- with $m.source.imageVolume.subPath }}
  subPath: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}
{{- if and $m.commandImage (eq .role "migrate") }}
- name: schemagate-bin
  mountPath: /schemagate-bin
  readOnly: true
{{- end }}
{{- if and (include "schemagate.hasTmp" .root) (eq .role "migrate") }}
- name: schemagate-tmp
  mountPath: /tmp
{{- end }}
{{- with $m.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Two ConfigMaps hold the same: that of a hook is gone when the hook has succeeded, and pods of the application stay. */}}
{{- define "schemagate.hookConfigMap" -}}
{{ include "schemagate.fullname" . }}-migrations
{{- end -}}

{{- define "schemagate.podConfigMap" -}}
{{ include "schemagate.fullname" . }}-migrations-{{ toJson .Values.migrations.source.configMap.files | sha256sum | trunc 8 }}
{{- end -}}

{{/* Call with (dict "root" . "hook" …), the latter whether the pod is that of a hook. */}}
{{- define "schemagate.volumeList" -}}
{{- $m := .root.Values.migrations -}}
{{- if eq $m.source.type "configMap" }}
- name: schemagate-migrations
  configMap:
    name: {{ $m.source.configMap.name | default (include (.hook | ternary "schemagate.hookConfigMap" "schemagate.podConfigMap") .root) }}
    {{- with $m.source.configMap.items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- else if eq $m.source.type "imageVolume" }}
- name: schemagate-migrations
  image:
    reference: {{ $m.source.imageVolume.reference }}
    pullPolicy: {{ $m.source.imageVolume.pullPolicy }}
{{- else if eq $m.source.type "emptyDir" }}
- name: schemagate-migrations
  emptyDir:
    sizeLimit: 64Mi
{{- end }}
{{- if $m.commandImage }}
- name: schemagate-bin
  emptyDir:
    sizeLimit: 16Mi
{{- end }}
{{- if include "schemagate.hasTmp" .root }}
- name: schemagate-tmp
  emptyDir: {}
{{- end }}
{{- with $m.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Other tools write there, and the root of the file system is read-only. */}}
{{- define "schemagate.hasTmp" -}}
{{- $paths := list -}}
{{- range .Values.migrations.extraVolumeMounts }}{{ $paths = append $paths .mountPath }}{{ end -}}
{{- if and .Values.migrations.command (not (has "/tmp" $paths)) }}true{{ end -}}
{{- end -}}

{{/*
What has to be in place before: the migrations out of the application's image, schemagate beside another tool. Call with
(dict "root" . "role" …).
*/}}
{{- define "schemagate.preparation" -}}
{{- $m := .root.Values.migrations -}}
{{- if eq $m.source.type "emptyDir" }}
- name: schemagate-migrations
  image: {{ $m.source.emptyDir.image }}
  command: {{ $m.source.emptyDir.command | default (list "cp" "-R" (printf "%s/." $m.source.emptyDir.path) $m.source.dir) | toRawJson }}
  volumeMounts:
    - name: schemagate-migrations
      mountPath: {{ $m.source.dir }}
  resources:
    {{- toYaml $m.resources | nindent 4 }}
  securityContext:
    {{- include "schemagate.securityContext" .root | nindent 4 }}
{{- end }}
{{- if and $m.commandImage (eq .role "migrate") }}
- name: schemagate-install
  image: {{ include "schemagate.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [install, /schemagate-bin/]
  volumeMounts:
    - name: schemagate-bin
      mountPath: /schemagate-bin
  resources:
    {{- toYaml $m.resources | nindent 4 }}
  securityContext:
    {{- include "schemagate.securityContext" .root | nindent 4 }}
{{- end }}
{{- end -}}

{{/* One container. Call with (dict "root" . "role" …): migrate, sidecar, gate, verify. */}}
{{- define "schemagate.container" -}}
{{- $root := .root -}}
{{- $m := .root.Values.migrations -}}
{{- $wraps := and (eq .role "migrate") $m.command -}}
{{- $volumeMounts := include "schemagate.volumeMounts" . | trim -}}
- name: {{ get (dict "migrate" "migrate" "sidecar" "schema" "gate" "wait-for-schema" "verify" "verify") .role }}
  {{- if and $wraps $m.commandImage }}
  image: {{ $m.commandImage }}
  {{- else }}
  image: {{ include "schemagate.image" $root }}
  imagePullPolicy: {{ $root.Values.image.pullPolicy }}
  {{- end }}
  {{- if and $wraps $m.commandImage }}
  command: {{ concat (list "/schemagate-bin/schemagate" "exec" "--") $m.command | toRawJson }}
  {{- else if $wraps }}
  command: {{ concat (list "/schemagate" "exec" "--") $m.command | toRawJson }}
  {{- else if eq .role "gate" }}
  args: [wait, --for, schema]
  {{- else }}
  args: [{{ .role }}]
  {{- end }}
  {{- if and (eq .role "sidecar") $m.sidecar.native }}
  restartPolicy: Always
  {{- end }}
  env:
    {{- include "schemagate.env" . | trim | nindent 4 }}
  {{- with $m.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .role "sidecar" }}
  {{- include "schemagate.probes" $root | nindent 2 }}
  {{- end }}
  {{- if and (eq .role "verify") $m.verify.assertions }}
  volumeMounts:
    - name: assertions
      mountPath: /assertions
      readOnly: true
    {{- with $volumeMounts }}
    {{- . | nindent 4 }}
    {{- end }}
  {{- else if $volumeMounts }}
  volumeMounts:
    {{- $volumeMounts | nindent 4 }}
  {{- end }}
  resources:
    {{- toYaml $m.resources | nindent 4 }}
  securityContext:
    {{- include "schemagate.securityContext" $root | nindent 4 }}
{{- end -}}

{{/*
The startupProbe holds the application back. A sidecar that migrates gets more than its timeout, and time for another pod's run
before it: a kubelet that kills it in the middle of a migration kills it again and again.
*/}}
{{- define "schemagate.probes" -}}
{{- $m := .Values.migrations -}}
{{- $budget := include "schemagate.seconds" (dict "value" $m.sidecar.startupBudget "name" "migrations.sidecar.startupBudget") | int64 -}}
{{- if and (eq $m.mode "sidecar") $m.sidecar.autoMigrate -}}
{{- $budget = max $budget (add (mul 2 (include "schemagate.timeout" . | int64)) 120) -}}
{{- end -}}
ports:
  - name: schema
    containerPort: {{ $m.sidecar.port }}
startupProbe:
  httpGet:
    path: /startupz
    port: schema
  periodSeconds: 2
  failureThreshold: {{ max 1 (div (add $budget 1) 2) }}
readinessProbe:
  httpGet:
    path: /readyz
    port: schema
  periodSeconds: 5
livenessProbe:
  httpGet:
    path: /livez
    port: schema
{{- end -}}

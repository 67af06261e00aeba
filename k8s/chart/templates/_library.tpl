{{/*
What your own chart includes. Lists of containers and of volumes, and nothing where migrations.enabled is false:

  initContainers:
    {{- include "schemagate.initContainers" . | nindent 8 }}
  containers: …
  volumes:
    {{- include "schemagate.volumes" . | nindent 8 }}
*/}}

{{/* What migrations.mode asks for: an init container that migrates, a sidecar, or one that waits for the Job. */}}
{{- define "schemagate.initContainers" -}}
{{- $box := dict "from" . -}}
{{- include "schemagate.resolve" $box -}}
{{- $mode := $box.root.Values.migrations.mode -}}
{{- if eq $mode "initContainer" -}}
{{- include "schemagate.initContainer" . -}}
{{- else if and (eq $mode "sidecar") (not $box.root.Values.migrations.sidecar.native) -}}
{{- /* The sidecar itself is one of the containers: an init container that never ends would keep them away. */ -}}
{{- if $box.root.Values.migrations.enabled -}}
{{- include "schemagate.preparation" (dict "root" $box.root "role" "sidecar") | trim -}}
{{- end -}}
{{- else if eq $mode "sidecar" -}}
{{- include "schemagate.sidecar" . -}}
{{- else -}}
{{- include "schemagate.gate" . -}}
{{- end -}}
{{- end -}}

{{/* Migrates before the application starts. */}}
{{- define "schemagate.initContainer" -}}
{{- include "schemagate.pieces" (dict "from" . "role" "migrate") -}}
{{- end -}}

{{/* Serves the endpoints; with migrations.mode sidecar it migrates too. */}}
{{- define "schemagate.sidecar" -}}
{{- include "schemagate.pieces" (dict "from" . "role" "sidecar") -}}
{{- end -}}

{{/* Holds the pod back until the schema is what the image needs, whoever migrates. */}}
{{- define "schemagate.gate" -}}
{{- include "schemagate.pieces" (dict "from" . "role" "gate") -}}
{{- end -}}

{{- define "schemagate.pieces" -}}
{{- include "schemagate.resolve" . -}}
{{- $root := .root -}}
{{- if $root.Values.migrations.enabled -}}
{{- if or (eq .role "gate") (and (eq .role "sidecar") (ne $root.Values.migrations.mode "sidecar")) -}}
{{- include "schemagate.checkWaiting" $root -}}
{{- end -}}
{{- $first := "" -}}
{{- if or (ne .role "sidecar") $root.Values.migrations.sidecar.native -}}
{{- $first = include "schemagate.preparation" (dict "root" $root "role" .role) | trim -}}
{{- end -}}
{{- printf "%s\n%s" $first (include "schemagate.container" (dict "root" $root "role" .role)) | trim -}}
{{- end -}}
{{- end -}}

{{/* The volumes of these containers. */}}
{{- define "schemagate.volumes" -}}
{{- $box := dict "from" . -}}
{{- include "schemagate.resolve" $box -}}
{{- if $box.root.Values.migrations.enabled -}}
{{- include "schemagate.volumeList" (dict "root" $box.root "hook" false) | trim -}}
{{- end -}}
{{- end -}}

{{/* The Job that migrates, a whole document, for charts that set migrations.library. */}}
{{- define "schemagate.job" -}}
{{- $box := dict "from" . -}}
{{- include "schemagate.resolve" $box -}}
{{- if $box.root.Values.migrations.enabled -}}
{{- if not (include "schemagate.hasJobs" $box.root) -}}
{{- fail (printf "\nschemagate: include \"schemagate.job\" needs migrations.mode job or argocd, and it is %s" $box.root.Values.migrations.mode) -}}
{{- end -}}
{{- include "schemagate.jobDocument" (dict "root" $box.root "role" "migrate") -}}
{{- end -}}
{{- end -}}

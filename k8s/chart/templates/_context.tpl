{{/*
What a template is called with is either this chart's own context or that of a chart that includes it. In the latter the
values lie below .Subcharts.schemagate. Call: include "schemagate.resolve" $box with (dict "from" .); $box.root is the answer.
*/}}
{{- define "schemagate.resolve" -}}
{{- $root := .from -}}
{{- if hasKey (.from.Subcharts | default dict) "schemagate" -}}
{{- $root = .from.Subcharts.schemagate -}}
{{- end -}}
{{- if not (hasKey $root.Values "migrations") -}}
{{- fail "\nschemagate: its values are not here: name the dependency schemagate, or hand over the context of its alias: include \"schemagate.initContainer\" (index .Subcharts \"ALIAS\")" -}}
{{- end -}}
{{- $_ := set . "root" $root -}}
{{- include "schemagate.check" $root -}}
{{- end -}}

{{- define "schemagate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Room is left for what is put behind it: names of Jobs and labels end at 63 characters. */}}
{{- define "schemagate.fullname" -}}
{{- $name := include "schemagate.name" . -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name }}{{ $full = .Release.Name }}{{ end -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "schemagate.selectorLabels" -}}
app.kubernetes.io/name: {{ include "schemagate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "schemagate.labels" -}}
{{ include "schemagate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.migrations.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "schemagate.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration (240, 4m, 1h30m). Call with (dict "value" … "name" …). */}}
{{- define "schemagate.seconds" -}}
{{- $text := toString .value -}}
{{- if kindIs "float64" .value }}{{ $text = printf "%.3f" .value | trimSuffix ".000" }}{{ end -}}
{{- if regexMatch "^[0-9]+$" $text }}{{ $text = printf "%ss" $text }}{{ end -}}
{{- if not (regexMatch "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$" $text) -}}
{{- fail (printf "\nschemagate: %s is %q: write seconds (240) or a duration (4m, 1h30m)" .name $text) -}}
{{- end -}}
{{- $hours := regexFind "[0-9]+h" $text | trimSuffix "h" | int64 -}}
{{- $minutes := regexFind "[0-9]+m" $text | trimSuffix "m" | int64 -}}
{{- $seconds := regexFind "[0-9]+s" $text | trimSuffix "s" | int64 -}}
{{- add (mul $hours 3600) (mul $minutes 60) $seconds -}}
{{- end -}}

{{- define "schemagate.timeout" -}}
{{- include "schemagate.seconds" (dict "value" .Values.migrations.timeout "name" "migrations.timeout") -}}
{{- end -}}

{{- define "schemagate.serviceAccountName" -}}
{{- with .Values.migrations.serviceAccount -}}
{{- if .create -}}
{{ .name | default (include "schemagate.fullname" $) }}
{{- else -}}
{{ .name | default "default" }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether this chart renders Jobs. */}}
{{- define "schemagate.hasJobs" -}}
{{- if and .Values.migrations.enabled (has .Values.migrations.mode (list "job" "argocd")) }}true{{ end -}}
{{- end -}}

{{/* Annotations that put an object into the order of a release. Call with (dict "root" . "role" …). */}}
{{- define "schemagate.order" -}}
{{- $m := .root.Values.migrations -}}
{{- $order := get (dict "resource" -2 "backup" -1 "migrate" 0 "verify" 2) .role -}}
{{- if eq $m.mode "argocd" -}}
argocd.argoproj.io/hook: {{ eq .role "verify" | ternary "PostSync" $m.argocd.hook }}
argocd.argoproj.io/hook-delete-policy: {{ eq .role "resource" | ternary "BeforeHookCreation" "BeforeHookCreation,HookSucceeded" }}
argocd.argoproj.io/sync-wave: {{ $order | quote }}
argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true
{{- else if or $m.job.hooks (eq .role "verify") -}}
{{- $after := list "post-install" "post-upgrade" -}}
{{- $events := $m.job.hooks -}}
{{- if eq .role "verify" }}{{ $events = $after }}{{ end -}}
{{- if and (eq .role "resource") $m.verify.enabled }}{{ $events = concat $events $after | uniq }}{{ end -}}
helm.sh/hook: {{ join "," $events }}
helm.sh/hook-weight: {{ mul $order 10 | toString | quote }}
helm.sh/hook-delete-policy: {{ join "," $m.job.deletePolicy }}
{{- end -}}
{{- end -}}

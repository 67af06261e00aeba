{{/* A Job. Call with (dict "root" . "role" …): backup, migrate, verify. */}}
{{- define "schemagate.jobDocument" -}}
{{- $root := .root -}}
{{- $m := .root.Values.migrations -}}
{{- $template := include "schemagate.podTemplate" . -}}
{{- $deadline := include "schemagate.timeout" $root | int64 -}}
{{- if eq .role "backup" }}{{ $deadline = include "schemagate.backupTimeout" $root | int64 }}{{ end -}}
{{- $base := printf "%s-%s" (include "schemagate.fullname" $root) .role -}}
{{- $name := printf "%s-%s" $base (print $template $m.podFailurePolicy $m.retries $deadline | sha256sum | trunc 8) -}}
{{- if eq .role "migrate" }}{{ $name = $m.job.name | default $name }}{{ end -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name }}
  labels:
    {{- include "schemagate.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  {{- with include "schemagate.order" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  backoffLimit: {{ $m.retries }}
  activeDeadlineSeconds: {{ add $deadline 30 }}
  {{- if ne $m.mode "argocd" }}
  ttlSecondsAfterFinished: {{ kindIs "invalid" $m.ttlSecondsAfterFinished | ternary 86400 $m.ttlSecondsAfterFinished | int64 }}
  {{- end }}
  {{- if and $m.podFailurePolicy.enabled (ne .role "backup") (not $m.command) }}
  podFailurePolicy:
    rules:
      # A node that is drained is nobody's failure.
      - action: Ignore
        onPodConditions:
          - type: DisruptionTarget
            status: "True"
      # Settings (2), SQL (5), history (6), a gate (7): another attempt ends the same.
      - action: FailJob
        onExitCodes:
          containerName: {{ .role }}
          operator: In
          values: [2, 5, 6, 7]
  {{- end }}
  template:
    {{- $template | nindent 4 }}
{{- end -}}

{{- define "schemagate.podTemplate" -}}
{{- $root := .root -}}
{{- $m := .root.Values.migrations -}}
metadata:
  labels:
    {{- include "schemagate.selectorLabels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
    {{- with $m.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $m.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "schemagate.serviceAccountName" $root }}
  automountServiceAccountToken: false
  # A Service called schemagate would otherwise add variables that look like settings.
  enableServiceLinks: false
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    {{- if eq .role "backup" }}
    # The volume is written by this group.
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile:
      type: RuntimeDefault
  {{- with $m.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $m.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $m.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $m.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $m.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .role "backup" }}
  {{- include "schemagate.backupPod" $root | nindent 2 }}
  {{- else }}
  {{- with include "schemagate.preparation" . | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "schemagate.container" . | nindent 4 }}
  {{- include "schemagate.podVolumes" . | trim | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "schemagate.podVolumes" -}}
{{- $volumes := include "schemagate.volumeList" (dict "root" .root "hook" (ne (include "schemagate.order" (dict "root" .root "role" "resource")) "")) | trim -}}
{{- $assertions := eq .role "verify" | ternary .root.Values.migrations.verify.assertions "" -}}
{{- if or $volumes $assertions }}
volumes:
  {{- with $assertions }}
  - name: assertions
    configMap:
      name: {{ . }}
  {{- end }}
  {{- with $volumes }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The script is inlined: a hook must find all that it uses. */}}
{{- define "schemagate.backupPod" -}}
{{- $backup := .Values.migrations.backup -}}
containers:
  - name: backup
    image: {{ $backup.image }}
    command: [/bin/sh, -c]
    args:
      - |
        {{- .Files.Get "files/backup.sh" | nindent 8 }}
    env:
      - name: DATABASE_URL
        {{- include "schemagate.databaseUrl" (dict "root" . "secret" .Values.migrations.existingSecret) | nindent 8 }}
      - name: DATABASE_ROLE
        value: {{ .Values.migrations.role | quote }}
      - name: BACKUP_DIR
        value: /backups
      - name: BACKUP_DAYS
        value: {{ $backup.days | quote }}
    volumeMounts:
      - name: backups
        mountPath: /backups
    resources:
      {{- toYaml $backup.resources | nindent 6 }}
    securityContext:
      {{- include "schemagate.securityContext" . | nindent 6 }}
volumes:
  - name: backups
    persistentVolumeClaim:
      claimName: {{ $backup.existingClaim }}
{{- end -}}

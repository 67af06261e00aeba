// No code: these modules carry the custom resource definitions that manifests are validated against.
module schemagate.invalid/tests/k8s/crds

go 1.26

require (
	github.com/external-secrets/external-secrets v1.3.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)

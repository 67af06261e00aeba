// The real kubectl, from the module that the Kubernetes project publishes: its own main package lies in a repository that no
// Go module proxy can build from.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}

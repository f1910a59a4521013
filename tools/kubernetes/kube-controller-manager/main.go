// The stock kube-controller-manager, except that the environment may shorten the wait before a Job replaces a lost
// pod (10 s, doubling up to 10 min), which otherwise dominates every test that loses one:
// JOB_BACKOFF sets the first wait, JOB_BACKOFF_MAX the longest, both as "1s". Unset, nothing differs from stock.
package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // metric of the version
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/pkg/controller/job"
)

func main() {
	override(&job.DefaultJobPodFailureBackOff, "JOB_BACKOFF")
	override(&job.MaxJobPodFailureBackOff, "JOB_BACKOFF_MAX")
	os.Exit(cli.Run(app.NewControllerManagerCommand()))
}

func override(setting *time.Duration, name string) {
	text, found := os.LookupEnv(name)
	if !found {
		return
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	}
	*setting = value
}

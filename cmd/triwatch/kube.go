package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/triwatch/triwatch/cmd/triwatch/app"
	"github.com/triwatch/triwatch/cmd/triwatch/cli"
	"github.com/triwatch/triwatch/k8sbind/record"
	"github.com/triwatch/triwatch/sentinel/conf"
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The limits of the client that writes labels and Events. Flips and informers have none.
const (
	clientQPS   = 20
	clientBurst = 40
)

// kubeStopTimeout bounds the orderly end after SIGTERM: handing over, leaving, ending.
const kubeStopTimeout = 15 * time.Second

// kubeFlags are what `triwatch kube` is told.
type kubeFlags struct {
	namespaces                        []string
	watchers, port                    int
	selector, record, kubeconfig      string
	podName, podUID, podIP, namespace string
	opt                               app.Options
	logs                              logFlags
}

func newKube() *cobra.Command {
	var k kubeFlags
	cmd := &cobra.Command{
		Use:   "kube",
		Short: "Watch annotated StatefulSets, as a pod of a Deployment",
		Long: `Watch annotated StatefulSets, as a pod of a Deployment.

Peers and masters are found through the Kubernetes API, see deploy/. The name, UID, address and
namespace of the pod come from POD_NAME, POD_UID, POD_IP and POD_NAMESPACE. Every flag can be
given as an environment variable as well: TRIWATCH_NAMESPACES for --namespaces.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 0 {
				return cli.UsageError(fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0]))
			}
			return nil
		},
		PreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnvironment(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := k.logs.logger()
			if err != nil {
				return err
			}
			defer log.Sync() //nolint:errcheck // stderr cannot be synced everywhere
			spareProcessor()
			k.opt.Build = buildInfo()
			return runKube(cmd.Context(), k, log)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&k.namespaces, "namespaces", nil, "namespaces whose StatefulSets are watched (default: the pod's own)")
	f.IntVar(&k.watchers, "watchers", 3, "how many watchers there are: the Deployment's replicas")
	f.IntVar(&k.port, "port", conf.DefaultPort, "port of the Sentinel protocol; the peers' port is 10000 higher")
	f.StringVar(&k.selector, "selector", "app.kubernetes.io/name=triwatch", "label selector of the watchers' own pods")
	f.StringVar(&k.record, "record", "triwatch-cluster", "Secret that holds the cluster record and the watchers' CA; it is made when missing")
	f.StringVar(&k.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&k.opt.HTTPAddr, "http-addr", ":8080", "HTTP address")
	f.StringVar(&k.opt.DataDir, "data-dir", "/var/lib/triwatch", "directory of the Raft store; it may be lost with the pod")
	f.StringVar(&k.opt.Token, "token", "", "token with which HTTP writes are allowed from outside the pod")
	sharedFlags(f, &k.opt)
	f.StringVar(&k.logs.format, "log-format", "json", "text or json")
	f.StringVar(&k.logs.level, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// fill takes the pod's own data from its environment.
func (k *kubeFlags) fill() error {
	k.podName, k.podUID, k.podIP, k.namespace = os.Getenv("POD_NAME"), os.Getenv("POD_UID"), os.Getenv("POD_IP"), os.Getenv("POD_NAMESPACE")
	var missing []string
	for _, v := range []string{"POD_NAME", "POD_UID", "POD_IP", "POD_NAMESPACE"} {
		if os.Getenv(v) == "" {
			missing = append(missing, v)
		}
	}
	if len(missing) > 0 {
		return cli.UsageError(fmt.Errorf("%s not set: the Deployment must give them to the pod, see deploy/base", strings.Join(missing, ", ")))
	}
	if k.watchers < 1 {
		return cli.UsageError(fmt.Errorf("--watchers is %d, must be at least 1", k.watchers))
	}
	if len(k.namespaces) == 0 {
		k.namespaces = []string{k.namespace}
	}
	return nil
}

// clients returns one client with ordinary limits and one without any.
func (k *kubeFlags) clients() (limited, unlimited kubernetes.Interface, err error) {
	var cfg *rest.Config
	if k.kubeconfig != "" {
		cfg, err = clientcmd.BuildConfigFromFlags("", k.kubeconfig)
	} else {
		cfg, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find the Kubernetes API: %w", err)
	}
	cfg.UserAgent = "triwatch/" + buildInfo().Version
	slow, fast := rest.CopyConfig(cfg), rest.CopyConfig(cfg)
	slow.QPS, slow.Burst = clientQPS, clientBurst
	fast.QPS = -1
	if limited, err = kubernetes.NewForConfig(slow); err != nil {
		return nil, nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	if unlimited, err = kubernetes.NewForConfig(fast); err != nil {
		return nil, nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	return limited, unlimited, nil
}

// runKube is one watcher from its pod's start to SIGTERM.
func runKube(ctx context.Context, k kubeFlags, log *zap.Logger) error {
	if err := k.fill(); err != nil {
		return err
	}
	limited, unlimited, err := k.clients()
	if err != nil {
		return err
	}
	keeper, err := record.New(record.Options{Client: unlimited, Namespace: k.namespace, Name: k.record, Pod: k.podName, UID: types.UID(k.podUID), IP: k.podIP,
		PeerPort: k.port + app.PeerPortOffset, Selector: k.selector, Dir: k.opt.DataDir, Logger: log.Named("record")})
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return err
	}
	defer keeper.Stop()
	cert, err := certificate(ctx, keeper, log)
	if err != nil {
		return ignoreCancelled(err)
	}
	k.opt.File = &conf.File{Port: k.port, AnnounceIP: k.podIP}
	k.opt.Kube = &app.Kube{Client: limited, Flips: unlimited, Namespaces: k.namespaces, PodName: k.podName, Domain: clusterDomain("/etc/resolv.conf"), Watchers: k.watchers, Members: members{keeper, cert}}
	a, err := app.New(k.opt, log)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	select {
	case <-a.Ending(): // SHUTDOWN: Kubernetes starts another one
	case <-ctx.Done():
	}
	log.Info("stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), kubeStopTimeout)
	defer cancel()
	if err := a.Stop(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Info("stopped")
	return nil
}

// members is the keeper with the certificate that it made.
type members struct {
	*record.Keeper
	cert *tls.Config
}

// TLS implements app.Members.
func (m members) TLS() *tls.Config { return m.cert }

// certificate waits for the cluster's CA: without it no other watcher would listen.
func certificate(ctx context.Context, keeper *record.Keeper, log *zap.Logger) (*tls.Config, error) {
	for {
		cert, err := keeper.TLS(ctx)
		if err == nil {
			return cert, nil
		}
		log.Warn("waiting for the cluster's certificate authority", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// clusterDomain is the DNS domain of the cluster, as the kubelet gives it to pods in the
// search list: "search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN". It is "" if there is none.
func clusterDomain(resolvConf string) string {
	b, err := os.ReadFile(resolvConf)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "search" {
			continue
		}
		for _, w := range words[1:] {
			if domain, ok := strings.CutPrefix(w, "svc."); ok {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return ""
}

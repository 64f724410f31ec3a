// Command cluster runs a real one-node Kubernetes on this machine until Ctrl-C,
// for trying things by hand.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/triwatch/triwatch/test/kube/cluster"
	"github.com/triwatch/triwatch/test/kube/image"
)

func main() {
	inside, code, err := cluster.Enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if !inside {
		os.Exit(code)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (err error) {
	var images []string
	flag.Func("image", "an image `file` to load, as docker save writes it (may be given again)", func(file string) error {
		images = append(images, file)
		return nil
	})
	kustomization := flag.String("k", "", "a kustomization `directory` to apply at start")
	volumes := flag.Int("volumes", 6, "how many persistent volumes to make, in the default storage class")
	redis := flag.String("redis", "redis:test", "the name under which this machine's Redis is loaded; empty: not at all")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("read arguments: what is %q? See -help", flag.Arg(0))
	}

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	c, err := cluster.Start(ctx, cluster.Options{DNS: true, Log: say})
	if err != nil {
		return err
	}
	defer func() {
		say("stopping")
		err = errors.Join(err, c.Stop(context.WithoutCancel(ctx)))
	}()
	if *redis != "" {
		file := filepath.Join(c.Dir(), "tmp", "redis.tar")
		if err := image.Redis(ctx, file, *redis); err != nil {
			return err
		}
		images = append(images, file)
	}
	for _, file := range images {
		if err := c.LoadImage(ctx, file); err != nil {
			return err
		}
	}
	if *volumes > 0 {
		if err := c.MakeVolumes(ctx, *volumes, "10Gi", "standard"); err != nil {
			return err
		}
	}
	if *kustomization != "" {
		out, err := c.Kubectl(ctx, "apply", "-k", *kustomization)
		fmt.Print(out)
		if err != nil {
			return err
		}
	}
	say("\nkubeconfig  %s", c.Kubeconfig())
	say("kubectl     %s get pods -A", c.KubectlScript())
	say("shell       nsenter --net=%s env KUBECONFIG=%s PATH=%s:$PATH $SHELL", c.Netns(), c.Kubeconfig(), filepath.Join(c.Dir(), "bin"))
	say("Ctrl-C stops it and removes everything.")
	<-ctx.Done()
	return nil
}

// Command image makes a container image out of one static program, as a
// docker-archive file for docker load or ctr images import. No container engine is
// needed.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/triwatch/triwatch/test/kube/image"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	binary := flag.String("binary", "", "the static program, at /NAME in the image and its entrypoint")
	name := flag.String("name", "triwatch:dev", "the image's name and tag")
	out := flag.String("out", "", "the file to write")
	flag.Parse()
	if *binary == "" || *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := image.Binary(*out, *name, *binary, "/"+filepath.Base(*binary)); err != nil {
		return err
	}
	fmt.Printf("%s is in %s: docker load -i %s\n", *name, *out, *out)
	return nil
}

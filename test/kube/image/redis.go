package image

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// applets are the programs of busybox in the Redis image.
const applets = "sh cat ls sleep echo grep sed awk cut head tail wc hostname id kill ps env date mkdir rm cp mv ln chmod chown test [ true false touch nslookup nc ping timeout tr sort seq expr basename dirname stat sync wget printf pwd uname xargs find tee dd ip"

// Redis writes to out an image named tag with the redis-server and redis-cli of
// this machine and a small shell, laid out as the official image: user redis has id
// 999, data is in /data, and the entrypoint is the command itself. Without a
// user set by the pod it runs as root.
func Redis(ctx context.Context, out, tag string) error {
	files := map[string]file{
		"data/": {mode: 0o777, uid: 999}, "tmp/": {mode: 0o1777}, "root/": {mode: 0o700},
		"etc/passwd": {mode: 0o644, text: "root:x:0:0:root:/root:/bin/sh\nredis:x:999:999:redis:/data:/bin/sh\n"},
		"etc/group":  {mode: 0o644, text: "root:x:0:\nredis:x:999:\n"},
	}
	for _, program := range []struct{ name, pack string }{{"redis-server", "redis-server"}, {"redis-cli", "redis-tools"}} {
		if err := addDynamic(ctx, files, program.name, program.pack); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("make Redis image: %w (apt-get install busybox-static)", err)
	}
	files["bin/busybox"] = file{mode: 0o755, from: busybox}
	for applet := range strings.FieldsSeq(applets) {
		files["bin/"+applet] = file{mode: 0o777, link: "busybox"}
	}
	return write(out, tag, files, v1.Config{
		Cmd: []string{"redis-server"}, WorkingDir: "/data",
		Env:          []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
		ExposedPorts: map[string]struct{}{"6379/tcp": {}},
	})
}

// library finds the path in a line of ldd: behind the arrow, or the line's only one.
var library = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

// addDynamic adds a program to files as /usr/local/bin/NAME, with the libraries
// and the interpreter that ldd names. Libraries keep their paths; where a path goes
// through a link, the file that it leads to is there in its place.
func addDynamic(ctx context.Context, files map[string]file, name, pack string) error {
	found, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("make Redis image: %w (apt-get install %s)", err, pack)
	}
	// The package's redis-server is a link to a program that looks at its own name.
	real, err := filepath.EvalSymlinks(found)
	if err != nil {
		return fmt.Errorf("make Redis image: find %s: %w", name, err)
	}
	files["usr/local/bin/"+name] = file{mode: 0o755, from: real}
	listed, err := exec.CommandContext(ctx, "ldd", real).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make Redis image: list libraries of %s: %w: %s", real, err, listed)
	}
	libraries := library.FindAllStringSubmatch(string(listed), -1)
	if len(libraries) == 0 {
		return fmt.Errorf("make Redis image: ldd names no libraries of %s: %s", real, listed)
	}
	for _, match := range libraries {
		files[strings.TrimPrefix(match[1], "/")] = file{mode: 0o755, from: match[1]}
	}
	return nil
}

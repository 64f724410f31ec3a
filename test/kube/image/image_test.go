package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// read opens an archive as a container engine does and returns its files.
func read(t *testing.T, file, tag string) (v1.Image, map[string]tar.Header) {
	t.Helper()
	reference, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(file, &reference)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	files := make(map[string]tar.Header)
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return image, files
		}
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(header.Name, "/")] = *header
	}
}

func TestBinaryIsTheEntrypointOfASmallImage(t *testing.T) {
	dir := t.TempDir()
	program, first, second := filepath.Join(dir, "program"), filepath.Join(dir, "1.tar"), filepath.Join(dir, "2.tar")
	if err := os.WriteFile(program, []byte("not really a program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{first, second} {
		if err := Binary(out, "triwatch:dev", program, "/bin/triwatch", "kube"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(program, time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	image, files := read(t, first, "triwatch:dev")
	if got := files["bin/triwatch"]; got.Size != 20 || got.Mode != 0o755 || len(files) != 2 {
		t.Errorf("the image has %v", files)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; c.User != "65532:65532" || strings.Join(c.Entrypoint, " ") != "/bin/triwatch" || strings.Join(c.Cmd, " ") != "kube" {
		t.Errorf("the image runs %+v", c)
	}
	other, _ := read(t, second, "triwatch:dev")
	one, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := other.Digest(); err != nil || one != two {
		t.Errorf("the same program makes two images: %v and %v, %v", one, two, err)
	}
}

func TestRedisImageHasEverythingThatRedisNeeds(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-cli", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	out := filepath.Join(t.TempDir(), "redis.tar")
	if err := Redis(context.Background(), out, "redis:test"); err != nil {
		t.Fatal(err)
	}
	_, files := read(t, out, "redis:test")
	for _, want := range []string{"usr/local/bin/redis-server", "usr/local/bin/redis-cli", "bin/sh", "etc/passwd", "tmp", "data"} {
		if _, ok := files[want]; !ok {
			t.Errorf("%s is missing", want)
		}
	}
	var libc, interpreter bool
	for path := range files {
		libc = libc || strings.Contains(path, "libc.so")
		interpreter = interpreter || strings.Contains(path, "/ld-linux")
	}
	if !libc || !interpreter {
		t.Errorf("libc %v, ELF interpreter %v", libc, interpreter)
	}
	if data := files["data"]; data.Uid != 999 || data.Mode&0o777 != 0o777 {
		t.Errorf("/data belongs to %d with mode %o", data.Uid, data.Mode)
	}
}

func TestUnusableNameOrFileIsNamedInTheError(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.tar")
	if err := Binary(out, "Not A Name", os.Args[0], "/x"); err == nil || !strings.Contains(err.Error(), "Not A Name") {
		t.Errorf("error %v", err)
	}
	if err := Binary(out, "a:b", "/does/not/exist", "/x"); err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("error %v", err)
	}
}

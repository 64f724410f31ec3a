package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file is one file of a layer.
type file struct {
	mode int64
	uid  int    // also its group
	link string // where a symbolic link points to
	from string // the file of this machine with the contents
	text string // the contents, when from is empty
}

// Binary writes to out an image named tag with one static program: the file
// binary of this machine, at the path entrypoint, run as user 65532 with args.
func Binary(out, tag, binary, entrypoint string, args ...string) error {
	return write(out, tag, map[string]file{strings.TrimPrefix(entrypoint, "/"): {mode: 0o755, from: binary}},
		v1.Config{User: "65532:65532", Entrypoint: []string{entrypoint}, Cmd: args, WorkingDir: "/"})
}

// write makes the archive. Equal files make an equal image: times are zero and names are in order.
func write(out, tag string, files map[string]file, config v1.Config) error {
	reference, err := name.NewTag(tag)
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	content, err := layer(files)
	if err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	// Time counts here and size does not: the archive goes to this machine's containerd.
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed), tarball.WithCompressedCaching)
	if err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	image, err := mutate.AppendLayers(empty.Image, made)
	if err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	described, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	described = described.DeepCopy()
	described.OS, described.Architecture, described.Config = "linux", runtime.GOARCH, config
	described.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	if image, err = mutate.ConfigFile(image, described); err != nil {
		return fmt.Errorf("make image %s: %w", tag, err)
	}
	if err := tarball.WriteToFile(out, reference, image); err != nil {
		return fmt.Errorf("write image %s to %s: %w", tag, out, err)
	}
	return nil
}

// layer is the tar of files, with the directories that lead to them.
func layer(files map[string]file) ([]byte, error) {
	names := make([]string, 0, len(files))
	all := make(map[string]file, len(files))
	for name, f := range files {
		all[name] = f
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := files[dir+"/"]; !ok {
				all[dir+"/"] = file{mode: 0o755}
			}
		}
	}
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, name := range names {
		if err := add(archive, name, all[name]); err != nil {
			return nil, fmt.Errorf("add %s: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("end layer: %w", err)
	}
	return out.Bytes(), nil
}

// add writes one file; a name that ends with a slash is a directory.
func add(archive *tar.Writer, name string, f file) error {
	header := &tar.Header{Name: name, Mode: f.mode, Uid: f.uid, Gid: f.uid, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
	text := []byte(f.text)
	switch {
	case strings.HasSuffix(name, "/"):
		header.Typeflag = tar.TypeDir
	case f.link != "":
		header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
	case f.from != "":
		var err error
		if text, err = os.ReadFile(f.from); err != nil {
			return err
		}
	}
	header.Size = int64(len(text))
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(text)
	return err
}

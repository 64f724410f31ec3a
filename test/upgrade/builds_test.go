package upgrade

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

// build is a triwatch program of some level.
type build struct {
	path, version string
	level         int
}

const levelFile = "sentinel/command.go"

var levelLine = regexp.MustCompile(`(?m)^const CommandLevel = (\d+)$`)

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compile builds the program of a source tree.
func compile(t *testing.T, dir, version string, level int) build {
	t.Helper()
	b := build{path: filepath.Join(t.TempDir(), "triwatch"), version: version, level: level}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version="+version, "-o", b.path, "./cmd/triwatch")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", version, err, out)
	}
	return b
}

// present is the program of this tree.
func present(t *testing.T) build {
	return compile(t, root(t), "this-build", sentinel.CommandLevel)
}

// next is the program of a copy of this tree whose level is one higher.
func next(t *testing.T) build {
	t.Helper()
	from, to := root(t), t.TempDir()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || rel == "test/kube" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		case strings.HasSuffix(rel, ".go") && !strings.HasSuffix(rel, "_test.go"), rel == "go.mod", rel == "go.sum":
			b, err := os.ReadFile(path)
			if err == nil && rel == levelFile {
				b = levelLine.ReplaceAll(b, fmt.Appendf(nil, "const CommandLevel = %d", sentinel.CommandLevel+1))
			}
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), b, 0o600)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("copy the source: %v", err)
	}
	return compile(t, to, "next-build", sentinel.CommandLevel+1)
}

// errNoHistory is returned when git knows no commit of another level.
var errNoHistory = errors.New("no commit of another level is known here")

// shipped unpacks the source of the last commit that shipped another level.
func shipped(t *testing.T) (dir, commit string, level int, err error) {
	t.Helper()
	commit, level, err = lastOfAnotherLevel(root(t))
	if err != nil {
		return "", "", 0, err
	}
	archive, err := git(root(t), "archive", "--format=tar", commit)
	if err != nil {
		return "", "", 0, err
	}
	dir = t.TempDir()
	return dir, commit, level, unpack(archive, dir)
}

func lastOfAnotherLevel(dir string) (commit string, level int, err error) {
	list, err := git(dir, "log", "--first-parent", "--format=%H", "--", levelFile)
	if err != nil {
		return "", 0, err
	}
	commits := strings.Fields(string(list))
	for i, c := range commits {
		text, err := git(dir, "show", c+":"+levelFile)
		if err != nil {
			return "", 0, err
		}
		m := levelLine.FindSubmatch(text)
		if m == nil {
			break
		}
		if level, err = strconv.Atoi(string(m[1])); err != nil || level == sentinel.CommandLevel {
			continue
		}
		if i == 0 {
			return "HEAD", level, nil // the change of the level is not committed yet
		}
		out, err := git(dir, "rev-parse", commits[i-1]+"^")
		return strings.TrimSpace(string(out)), level, err
	}
	return "", 0, errNoHistory
}

func git(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(errs.String()))
	}
	return out, nil
}

func unpack(archive []byte, dir string) error {
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack source: %w", err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o750)
		case tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err != nil {
			return fmt.Errorf("unpack source: %w", err)
		}
	}
}

package conf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func TestReplacedFileKeepsModeOwnerAndLink(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "sentinel.conf"), filepath.Join(dir, "link.conf")
	write(t, path, "old", 0o640)
	owner := os.Getuid()
	if owner == 0 { // only root can give files away
		owner = 12345
		if err := os.Chown(path, owner, 54321); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := WriteAtomic(link, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "new" {
		t.Errorf("the file holds %q", got)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 || int(info.Sys().(*syscall.Stat_t).Uid) != owner {
		t.Errorf("mode %v, owner %d", info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
	}
	if got := names(t, dir); got != "link.conf sentinel.conf" {
		t.Errorf("the directory holds %s", got)
	}
}

func TestNewFileIsForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := WriteAtomic(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

func TestFileThatCantBeReplacedIsNamedAndStays(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sentinel.conf")
	write(t, path, "old", 0o444)
	err := WriteAtomic(path, []byte("new"))
	if want := "rewrite " + path + ": the file is read-only (mode 0444), make it writable for the watcher"; err == nil || err.Error() != want {
		t.Error(err)
	}
	if got := read(t, path); got != "old" || names(t, dir) != "sentinel.conf" {
		t.Errorf("the file holds %q, the directory %s", got, names(t, dir))
	}
	if err := WriteAtomic(dir, nil); err == nil || err.Error() != "rewrite "+dir+": not a regular file" {
		t.Error(err)
	}
	missing := filepath.Join(dir, "nowhere", "sentinel.conf")
	if err := WriteAtomic(missing, nil); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "rewrite "+missing) {
		t.Error(err)
	}
}

func TestReadOnlyDirectoryIsNamedAndTheFileStays(t *testing.T) {
	if os.Getuid() == 0 {
		// Root writes into every directory but those of the kernel.
		err := WriteAtomic("/proc/self/status", []byte("x"))
		if err == nil || !strings.HasPrefix(err.Error(), "rewrite /proc/self/status") {
			t.Error(err)
		}
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "sentinel.conf")
	write(t, path, "old", 0o600)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	err := WriteAtomic(path, []byte("new"))
	if !errors.Is(err, os.ErrPermission) || !strings.HasPrefix(err.Error(), "rewrite "+path+" (its directory must be writable, too)") {
		t.Error(err)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("the file holds %q", got)
	}
}

func TestMissingFileIsNamed(t *testing.T) {
	_, err := ReadFile("testdata/none.conf")
	if err == nil || err.Error() != "read configuration: open testdata/none.conf: no such file or directory" {
		t.Error(err)
	}
}

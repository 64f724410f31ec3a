package conf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ReadFile opens and parses path and what it includes; messages name it as given.
func ReadFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return ParseWith(path, f, OpenIncluded)
}

// WriteAtomic replaces the file at path by data: a temporary file beside it is written, synced, and renamed over it, so that a crash
// leaves the old or the new content and nothing in between. Mode and owner stay; a symbolic link stays and its target is replaced.
// A file that does not exist yet gets mode 0600, because it holds passwords.
func WriteAtomic(path string, data []byte) error {
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		target = path
	} else if err != nil {
		return fmt.Errorf("rewrite %s: %w", path, err)
	}
	old, err := os.Stat(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		old = nil
	case err != nil:
		return fmt.Errorf("rewrite %s: %w", path, err)
	case !old.Mode().IsRegular():
		return fmt.Errorf("rewrite %s: not a regular file", path)
	case old.Mode().Perm()&0o222 == 0:
		return fmt.Errorf("rewrite %s: the file is read-only (mode %04o), make it writable for the watcher", path, old.Mode().Perm())
	}
	tmp, err := writeTemp(target, data, old)
	if err != nil {
		return fmt.Errorf("rewrite %s (its directory must be writable, too): %w", path, err)
	}
	if err := os.Rename(tmp, target); err != nil {
		return errors.Join(fmt.Errorf("rewrite %s: %w", path, err), os.Remove(tmp))
	}
	if err := syncDir(filepath.Dir(target)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return nil
}

// writeTemp writes and syncs the temporary file; it leaves none behind when it fails.
func writeTemp(target string, data []byte, old os.FileInfo) (name string, err error) {
	f, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*.tmp")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil && old != nil {
		// The owner first: chown takes set-id bits away, and a password must not be readable by a group that it was not meant for.
		if err = keepOwner(f, old); err == nil {
			err = f.Chmod(old.Mode().Perm())
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return f.Name(), errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

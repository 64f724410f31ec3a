package election

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The store that was put aside last is kept in asideName, for people. asideMarker
// lies in the data directory while that is under way: half a store would be taken
// for a damaged one.
const (
	asideName   = "superseded"
	asideMarker = "superseded.moving"
)

// putAside moves the store of a life that has ended out of the way. After a crash
// in the middle the next openStore goes on with it.
func putAside(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, asideName)); err != nil {
		return fmt.Errorf("remove the store put aside before: %w", err)
	}
	if err := writeFileAtomically(filepath.Join(dir, asideMarker), nil); err != nil {
		return err
	}
	return finishAside(dir)
}

// finishAside moves what is left to move, if putAside has begun.
func finishAside(dir string) error {
	marker := filepath.Join(dir, asideMarker)
	if _, err := os.Stat(marker); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	aside := filepath.Join(dir, asideName)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return fmt.Errorf("put store aside: %w", err)
	}
	for _, name := range []string{"snapshots", storeFileName} {
		err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put store aside: %w", err)
		}
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("put store aside: %w", err)
	}
	if err := os.Remove(marker); err != nil {
		return fmt.Errorf("put store aside: %w", err)
	}
	return nil
}

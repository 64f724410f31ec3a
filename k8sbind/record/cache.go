package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cacheName is the file in Options.Dir that keeps the CA from one start of the
// container to the next, so that a watcher comes back while the API server is away.
// The directory lives no longer than the pod, which could read the Secret anyway.
const cacheName = "authority.json"

// kept is the file's content.
type kept struct {
	UID  types.UID `json:"uid"` // of the Secret
	Cert []byte    `json:"cert"`
	Key  []byte    `json:"key"`
}

// remember writes the CA beside the Raft store, if it is not there yet.
func (k *Keeper) remember(s *corev1.Secret) {
	if k.opt.Dir == "" {
		return
	}
	text, err := json.Marshal(kept{UID: s.UID, Cert: s.Data[keyCert], Key: s.Data[keyKey]})
	path := filepath.Join(k.opt.Dir, cacheName)
	if err == nil {
		if have, readErr := os.ReadFile(path); readErr == nil && string(have) == string(text) {
			return
		}
		err = errors.Join(os.MkdirAll(k.opt.Dir, 0o750), writePrivate(path, text))
	}
	if err != nil {
		k.log.Warn("the CA could not be kept for a start without the API server", zap.Error(err))
	}
}

// writePrivate replaces a file that only its owner may read. A crash leaves the old
// one or the new one.
func writePrivate(path string, text []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", next, err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// recall takes up the CA of the last start.
func (k *Keeper) recall() error {
	if k.opt.Dir == "" {
		return os.ErrNotExist
	}
	text, err := os.ReadFile(filepath.Join(k.opt.Dir, cacheName))
	if err != nil {
		return fmt.Errorf("read the CA of the last start: %w", err)
	}
	var c kept
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("read the CA of the last start: %w", err)
	}
	s := &corev1.Secret{Data: map[string][]byte{keyCert: c.Cert, keyKey: c.Key}}
	s.UID = c.UID
	return k.learnCA(s)
}

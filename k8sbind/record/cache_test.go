package record

import (
	"os"
	"path/filepath"
	"testing"
)

// A container that starts again while the API server is away has the CA of its last
// start, and talks to those who have it from the Secret.
func TestAStartWithoutTheAPIServerUsesTheCAOfTheLastOne(t *testing.T) {
	a := newAPI()
	dir := t.TempDir()
	in := func(k int) *Keeper {
		kp := keeper(t, a, k)
		kp.opt.Dir = dir
		return kp
	}
	first := config(t, in(1))
	other := config(t, keeper(t, a, 2))
	a.setDown(true)
	again, err := in(1).TLS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := shakeConf(t, again, other); err != nil {
		t.Error(err)
	}
	if err := shakeConf(t, first, again); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dir, cacheName))
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v", st.Mode())
	}
	if err := os.WriteFile(filepath.Join(dir, cacheName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := in(1).TLS(t.Context()); err == nil {
		t.Error("a damaged file gave a CA")
	}
}

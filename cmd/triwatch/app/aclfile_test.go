package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/triwatch/triwatch/sentinel/conf"
)

func TestACLFileIsFoundAndMustNotOpenAProtectedPort(t *testing.T) {
	dir := t.TempDir()
	put := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "users.acl"), []byte(text), 0o600))
	}
	read := func(more string) aclFile {
		f, err := conf.Parse("sentinel.conf", strings.NewReader("dir "+dir+"\naclfile users.acl\nprotected-mode yes\n"+more))
		require.NoError(t, err)
		return aclFileOf(f)
	}
	put("user default on nopass +@all\n")
	_, err := read("").Load()
	require.ErrorContains(t, err, "protected-mode yes")
	_, err = read("bind 127.0.0.1\n").Load()
	require.NoError(t, err, "only this machine comes in")

	put("user default on >pw +@all\n")
	users, err := read("").Load()
	require.NoError(t, err)
	require.Len(t, users, 1)

	require.NoError(t, read("").Save(append(users, users...)[:1]))
	b, err := os.ReadFile(filepath.Join(dir, "users.acl"))
	require.NoError(t, err)
	require.Equal(t, "user default on >pw +@all\n", string(b))
}

package httpapi_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/cmd/triwatch/httpapi/apitest"
	"go.uber.org/zap/zaptest"
)

// newServer is a server over the source whose clock stands still.
func newServer(t *testing.T, src *apitest.Source, token string) *httpapi.Server {
	t.Helper()
	now := apitest.Noon()
	return newServerAt(t, src, token, func() time.Time { return now })
}

func newServerAt(t *testing.T, src *apitest.Source, token string, now func() time.Time) *httpapi.Server {
	t.Helper()
	s, err := httpapi.New(httpapi.Options{Source: src, Metrics: prometheus.NewRegistry(), Logger: zaptest.NewLogger(t), Token: token,
		WriteTimeout: 50 * time.Millisecond, Now: now})
	require.NoError(t, err)
	return s
}

// do sends a request as a local client does; change may spoil it.
func do(s *httpapi.Server, method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	var content io.Reader
	if body != "" {
		content = bytes.NewBufferString(body)
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:46379"+path, content)
	r.RemoteAddr = "127.0.0.1:50000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// golden compares with a file in testdata; UPDATE_GOLDEN=1 writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

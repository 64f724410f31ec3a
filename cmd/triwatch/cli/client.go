package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
)

// maxAnswer bounds what is read from a watcher: 1000 masters' states are a few megabytes.
const maxAnswer = 64 << 20

// failure is the watcher's answer that is not a success.
type failure struct {
	httpapi.Failure
	status int
}

// Error returns the watcher's sentence.
func (f *failure) Error() string { return f.Failure.Error }

// get asks the watcher; path is its parts, which may hold any character.
func (s *session) get(ctx context.Context, into any, path ...string) error {
	return s.call(ctx, http.MethodGet, nil, into, path)
}

// call sends one request and reads the answer. The error is an ExitError.
func (s *session) call(ctx context.Context, method string, body, into any, path []string) error {
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	req, err := s.request(ctx, method, body, path)
	if err != nil {
		return err
	}
	// No proxy: the watcher is on this host or beside it, whatever HTTP_PROXY says.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return s.unreached(err, method)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return s.unreached(err, method)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, into); err != nil {
			return s.strange(resp)
		}
		return nil
	}
	f := &failure{status: resp.StatusCode}
	if json.Unmarshal(text, &f.Failure) != nil || f.Code == "" {
		return s.strange(resp)
	}
	return &ExitError{Code: codeOf(f), Err: f}
}

func (s *session) request(ctx context.Context, method string, body any, path []string) (*http.Request, error) {
	u, err := s.base()
	if err != nil {
		return nil, err
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	u = u.JoinPath(escaped(path)...)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, usagef("ask %s: %w", s.addr, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" && method != http.MethodGet {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	return req, nil
}

func codeOf(f *failure) int {
	switch {
	case f.Code == httpapi.CodeNoQuorum:
		return ExitNoQuorum
	case f.status == http.StatusConflict:
		return ExitRefused
	}
	return ExitFailure
}

func (s *session) strange(resp *http.Response) error {
	return &ExitError{Code: ExitFailure, Err: fmt.Errorf("%s answers (HTTP %d), but not as a triwatch watcher does; --http-addr names another address", s.addr, resp.StatusCode)}
}

// unreached says in one sentence why there is no answer, and what can be done.
func (s *session) unreached(err error, method string) error {
	var dns *net.DNSError
	var text string
	switch {
	case errors.Is(err, context.Canceled):
		text = "interrupted"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		text = fmt.Sprintf("the watcher at %s did not answer within %v (--timeout)", s.addr, s.timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail1("no watcher answers at %s: connection refused; start it, or name another with --http-addr", s.addr)
	case errors.As(err, &dns):
		return fail1("no watcher answers at %s: the name cannot be resolved; --http-addr names another", s.addr)
	default:
		text = fmt.Sprintf("asking the watcher at %s (--http-addr) failed: %v", s.addr, innermost(err))
	}
	if method != http.MethodGet {
		text += "; what was asked may still happen, see triwatch status"
	}
	return fail1("%s", text)
}

func fail1(format string, args ...any) error {
	return &ExitError{Code: ExitFailure, Err: fmt.Errorf(format, args...)}
}

// innermost is the error without the method and URL that net/http puts in front.
func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

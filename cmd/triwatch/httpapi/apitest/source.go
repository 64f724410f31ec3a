// Package apitest holds a Source with fixed data for tests: the masters, history and
// watchers of the examples in the documentation.
//
// The caller changes the fields before the source is used; while it is used
// only its methods are called. A Source records the wishes that it was sent.
package apitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/triwatch/triwatch/cmd/triwatch/httpapi"
	"github.com/triwatch/triwatch/sentinel"
)

// Source answers what its fields say. New fills them.
type Source struct {
	List     []sentinel.View
	Own      bool
	ViewsErr error
	Records  map[string][]sentinel.Record
	Info     httpapi.ClusterInfo
	Reached  map[string][]httpapi.Reached

	Answer     sentinel.Answer
	RequestErr error
	// Hang makes Request wait for its context.
	Hang      bool
	RemoveErr error
	// RecoverErr is what speaks against a recovery.
	RecoverErr error
	// ServiceList follows every master.
	ServiceList []httpapi.Service
	Pass        time.Time

	mu      sync.Mutex
	asked   []sentinel.Request
	removed []string
}

// New returns the source of the examples: all is well.
func New() *Source {
	return &Source{List: []sentinel.View{Carts(), Orders()}, Records: map[string][]sentinel.Record{"orders": OrdersHistory(), "carts": nil},
		Info: Trio(), Reached: map[string][]httpapi.Reached{"orders": OrdersReached(), "carts": nil},
		Answer: sentinel.Answer{Result: sentinel.OutcomeOK, Detail: "10.244.0.18:6379 is master", Epoch: 14}, Pass: Noon()}
}

// Noon is the moment at which the examples are looked at.
func Noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// Views implements httpapi.Source.
func (s *Source) Views(context.Context) ([]sentinel.View, bool, error) {
	return slices.Clone(s.List), s.Own, s.ViewsErr
}

// OwnViews implements metrics.Source.
func (s *Source) OwnViews(context.Context) ([]sentinel.View, error) {
	return slices.Clone(s.List), s.ViewsErr
}

// History implements httpapi.Source.
func (s *Source) History(_ context.Context, name string) ([]sentinel.Record, bool, error) {
	r, ok := s.Records[name]
	return r, ok, nil
}

// Request implements httpapi.Source.
func (s *Source) Request(ctx context.Context, q sentinel.Request) (sentinel.Answer, error) {
	s.mu.Lock()
	s.asked = append(s.asked, q)
	s.mu.Unlock()
	if s.Hang {
		<-ctx.Done()
		return sentinel.Answer{}, fmt.Errorf("wait for %s: %w", q.Master, ctx.Err())
	}
	return s.Answer, s.RequestErr
}

// Asked returns the wishes so far.
func (s *Source) Asked() []sentinel.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Check implements httpapi.Source.
func (s *Source) Check(_ context.Context, name string) (httpapi.CheckReport, error) {
	for _, v := range s.List {
		if v.Name == name {
			return httpapi.NewCheckReport(v, s.Own, s.Info, s.Reached[name]), nil
		}
	}
	return httpapi.CheckReport{}, fmt.Errorf("%w named %s", httpapi.ErrUnknownMaster, name)
}

// Cluster implements httpapi.Source.
func (s *Source) Cluster() httpapi.ClusterInfo { return s.Info }

// RemovePeer implements httpapi.Source.
func (s *Source) RemovePeer(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.RemoveErr == nil {
		s.removed = append(s.removed, id)
	}
	return s.RemoveErr
}

// Recover implements httpapi.Source.
func (s *Source) Recover(_ context.Context, drop []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.RecoverErr == nil {
		s.removed = append(s.removed, drop...)
	}
	return s.RecoverErr
}

// Removed returns the IDs that were removed so far.
func (s *Source) Removed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.removed)
}

// LastPass implements httpapi.Source.
func (s *Source) LastPass() time.Time { return s.Pass }

// Services implements httpapi.Source.
func (s *Source) Services(string) []httpapi.Service {
	return slices.Clone(s.ServiceList)
}

// Version implements httpapi.Source.
func (s *Source) Version() httpapi.Version {
	return httpapi.Version{Version: "0.1.0", Commit: "0123abc", Built: "2026-11-23T00:00:00Z", Go: "go1.26.8"}
}

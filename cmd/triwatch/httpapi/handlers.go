package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// views asks for all masters; on failure it has answered already.
func (s *Server) views(w http.ResponseWriter, r *http.Request) (views []sentinel.View, own, ok bool) {
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.ViewTimeout)
	defer cancel()
	views, own, err := s.opt.Source.Views(ctx)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, CodeBusy, "the watcher does not answer: "+err.Error())
		return nil, false, false
	}
	return views, own, true
}

// view asks for the master that the path names; on failure it has answered already.
func (s *Server) view(w http.ResponseWriter, r *http.Request) (v sentinel.View, own, ok bool) {
	views, own, ok := s.views(w, r)
	if !ok {
		return v, own, false
	}
	for _, v := range views {
		if v.Name == r.PathValue("name") {
			return v, own, true
		}
	}
	s.noMaster(w, r)
	return v, own, false
}

func (s *Server) noMaster(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, CodeNoMaster, "no master named "+r.PathValue("name")+" is watched")
}

func (s *Server) masters(w http.ResponseWriter, r *http.Request) {
	views, own, ok := s.views(w, r)
	if !ok {
		return
	}
	c := s.opt.Source.Cluster()
	out := Masters{Standing: newStanding(c, own), Masters: []Master{}}
	for _, v := range views {
		out.Masters = append(out.Masters, s.describe(v, own, c))
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) master(w http.ResponseWriter, r *http.Request) {
	v, own, ok := s.view(w, r)
	if !ok {
		return
	}
	c := s.opt.Source.Cluster()
	answer(w, http.StatusOK, OneMaster{Standing: newStanding(c, own), Master: s.describe(v, own, c)})
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	var epoch *sentinel.Epoch
	if text := r.URL.Query().Get("epoch"); text != "" {
		e, err := ParseEpoch(text)
		if err != nil {
			fail(w, http.StatusBadRequest, CodeBadRequest, err.Error())
			return
		}
		epoch = &e
	}
	v, own, ok := s.view(w, r)
	if !ok {
		return
	}
	records, known, err := s.opt.Source.History(r.Context(), v.Name)
	switch {
	case err != nil:
		fail(w, http.StatusServiceUnavailable, CodeBusy, "the watcher does not answer: "+err.Error())
		return
	case !known:
		s.noMaster(w, r)
		return
	}
	c := s.opt.Source.Cluster()
	answer(w, http.StatusOK, History{Standing: newStanding(c, own), Name: v.Name, Records: newRecords(records, epoch, namesOf(v), c)})
}

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.WriteTimeout)
	defer cancel()
	report, err := s.opt.Source.Check(ctx, r.PathValue("name"))
	if err != nil {
		s.failed(w, err)
		return
	}
	answer(w, http.StatusOK, report)
}

func (s *Server) peers(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, newPeers(s.opt.Source.Cluster()))
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.opt.Source.Version())
}

func (s *Server) removePeer(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.WriteTimeout)
	defer cancel()
	id := r.PathValue("id")
	err := s.opt.Source.RemovePeer(ctx, id)
	s.opt.Logger.Info("peer removal asked", zap.String("peer", id), zap.String("client", r.RemoteAddr), zap.Error(err))
	if err != nil {
		s.failed(w, err)
		return
	}
	answer(w, http.StatusOK, Removed{Removed: id})
}

func (s *Server) recover(w http.ResponseWriter, r *http.Request) {
	var wish Recovery
	if f := readWish(r, &wish); f != nil {
		fail(w, f.status, f.code, f.text)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.WriteTimeout)
	defer cancel()
	err := s.opt.Source.Recover(ctx, wish.Drop)
	s.opt.Logger.Warn("recovery asked", zap.Strings("drop", wish.Drop), zap.String("client", r.RemoteAddr), zap.Error(err))
	switch {
	case err == nil:
		answer(w, http.StatusOK, wish)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		s.failed(w, err)
	default:
		fail(w, http.StatusConflict, CodeRefused, err.Error())
	}
}

// failed answers with what a Source's error means.
func (s *Server) failed(w http.ResponseWriter, err error) {
	status, code := http.StatusInternalServerError, CodeFailed
	for _, k := range []struct {
		is     error
		status int
		code   string
	}{
		{ErrUnknownMaster, http.StatusNotFound, CodeNoMaster},
		{ErrUnknownPeer, http.StatusNotFound, CodeNoPeer},
		{ErrNoQuorum, http.StatusServiceUnavailable, CodeNoQuorum},
		{ErrNotLeader, http.StatusConflict, CodeNotLeader},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, CodeUnknown},
		{context.Canceled, http.StatusGatewayTimeout, CodeUnknown},
	} {
		if errors.Is(err, k.is) {
			status, code = k.status, k.code
			break
		}
	}
	fail(w, status, code, err.Error())
}

// asks returns the handler of one kind of request.
func (s *Server) asks(kind sentinel.RequestKind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { s.request(w, r, kind) }
}

func (s *Server) request(w http.ResponseWriter, r *http.Request, kind sentinel.RequestKind) {
	var wish Wish
	if f := readWish(r, &wish); f != nil {
		fail(w, f.status, f.code, f.text)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.opt.WriteTimeout)
	defer cancel()
	name := r.PathValue("name")
	a, err := s.opt.Source.Request(ctx, sentinel.Request{Master: name, Kind: kind, To: wish.To, Force: wish.Force, For: time.Duration(wish.ForMS) * time.Millisecond})
	s.opt.Logger.Info("request answered", zap.String("master", name), zap.Stringer("kind", kind), zap.String("to", wish.To),
		zap.String("client", r.RemoteAddr), zap.Stringer("result", a.Result), zap.String("code", a.Code), zap.String("detail", a.Detail), zap.Error(err))
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		fail(w, http.StatusGatewayTimeout, CodeUnknown, "no outcome yet, it may still happen: see triwatch status "+name)
		return
	}
	if err != nil {
		s.failed(w, err)
		return
	}
	s.answered(w, name, a)
}

// answered turns the core's answer into HTTP's.
func (s *Server) answered(w http.ResponseWriter, name string, a sentinel.Answer) {
	word := func(def string) string {
		if a.Code != "" {
			return a.Code
		}
		return def
	}
	switch a.Result {
	case sentinel.OutcomeOK:
		answer(w, http.StatusOK, Granted{Name: name, Result: a.Result.String(), Detail: a.Detail, Epoch: a.Epoch.String(), EpochNumber: uint64(a.Epoch)})
	case sentinel.OutcomeRefused:
		switch a.Code {
		case CodeNoMaster:
			fail(w, http.StatusNotFound, a.Code, a.Detail)
		case CodeNoQuorum:
			fail(w, http.StatusServiceUnavailable, a.Code, a.Detail)
		default:
			fail(w, http.StatusConflict, word(CodeRefused), a.Detail)
		}
	case sentinel.OutcomeNotLeader:
		if a.Code == CodeNoQuorum {
			fail(w, http.StatusServiceUnavailable, a.Code, a.Detail)
			return
		}
		fail(w, http.StatusServiceUnavailable, word(CodeNotLeader), "nothing was done, the leader changed just now, try again: "+a.Detail)
	case sentinel.OutcomeFailed:
		fail(w, http.StatusInternalServerError, word(CodeFailed), "nothing was done: "+a.Detail)
	case sentinel.OutcomeUnknown:
		fail(w, http.StatusGatewayTimeout, word(CodeUnknown), "the outcome is not known: "+a.Detail+"; see triwatch status "+name)
	}
}

// readWish reads the body, which may be missing. Only JSON is taken, so that a web
// page's form cannot send one.
func readWish(r *http.Request, wish any) *refusal {
	bad := func(status int, text string) *refusal { return &refusal{status, CodeBadRequest, text} }
	body, err := io.ReadAll(r.Body)
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		return bad(http.StatusRequestEntityTooLarge, "the body is too long")
	case err != nil:
		return bad(http.StatusBadRequest, "the body could not be read: "+err.Error())
	case len(body) == 0:
		return nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bad(http.StatusUnsupportedMediaType, "the body must be application/json")
	}
	if err := decode(body, wish); err != nil {
		return bad(http.StatusBadRequest, "the body is not what is expected here: "+err.Error())
	}
	return nil
}

// decode reads exactly one JSON object without fields that we do not know: a
// misspelt "to" would move the master to another replica than was meant.
func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, new(map[string]any)); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// describe says all of one master, with what follows it on Kubernetes.
func (s *Server) describe(v sentinel.View, own bool, c ClusterInfo) Master {
	m := newMaster(v, own, c)
	m.Services = s.opt.Source.Services(v.Name)
	return m
}

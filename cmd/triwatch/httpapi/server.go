package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/triwatch/triwatch/sentinel"
	"go.uber.org/zap"
)

// Options are the server's parts. Source, Metrics and Logger are required.
type Options struct {
	Source  Source
	Metrics prometheus.Gatherer
	Logger  *zap.Logger
	// Token is what writes have to present as a bearer token if they do not come from
	// this host; "" accepts no writes from elsewhere.
	Token string
	// ViewTimeout bounds the wait for the leader's view, 1 s if zero; after it this
	// watcher's own is shown.
	ViewTimeout time.Duration
	// WriteTimeout bounds the wait for a handover or failover, and a check, 60 s if zero.
	WriteTimeout time.Duration
	// LoopTimeout is how old the loop's last pass may be in /livez, 10 s if zero.
	LoopTimeout time.Duration
	// Now is the wall clock; nil is time.Now.
	Now func() time.Time
}

// Server answers over HTTP. Make it with New; the zero value is not usable.
type Server struct {
	opt     Options
	made    time.Time // a loop that has not passed yet is given time from here on
	handler http.Handler

	http   *http.Server
	cancel context.CancelFunc // ends what requests wait for
	served chan struct{}
}

// New returns a server that does not listen yet.
func New(opt Options) (*Server, error) {
	if opt.Source == nil || opt.Metrics == nil || opt.Logger == nil {
		return nil, errors.New("make HTTP server: source, metrics and logger are required")
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{{&opt.ViewTimeout, time.Second}, {&opt.WriteTimeout, time.Minute}, {&opt.LoopTimeout, 10 * time.Second}} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	s := &Server{opt: opt, made: opt.Now()}
	s.handler = s.routes()
	return s, nil
}

// Handler returns the server's handler, for those who listen themselves.
func (s *Server) Handler() http.Handler { return s.handler }

// Start listens on addr and serves until Shutdown. It returns the address that it
// listens on. It may be called once.
func (s *Server) Start(ctx context.Context, addr string) (net.Addr, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s (see --http-addr): %w", addr, err)
	}
	errorLog, err := zap.NewStdLogAt(s.opt.Logger, zap.DebugLevel)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make HTTP server's log: %w", err), ln.Close())
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel, s.served = cancel, make(chan struct{})
	s.http = &http.Server{
		Handler: s.handler, ErrorLog: errorLog,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		// A handover is waited for; the answer must still get out then.
		WriteTimeout: s.opt.WriteTimeout + 10*time.Second, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return base },
	}
	go func() {
		defer close(s.served)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.opt.Logger.Error("http server ended", zap.String("address", ln.Addr().String()), zap.Error(err))
		}
	}()
	return ln.Addr(), nil
}

// Shutdown stops listening and waits for the requests under way, until ctx ends;
// then they are cut off, and it returns ctx's error. No goroutine that accepts is
// left when it returns. Without a Start it does nothing.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.http == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	s.cancel()
	if err != nil {
		err = errors.Join(fmt.Errorf("stop HTTP server: %w", err), s.http.Close())
	}
	<-s.served
	return err
}

// endpoint is what one path does per method.
type endpoint map[string]http.HandlerFunc

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	scrape := promhttp.HandlerFor(s.opt.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true,
		ErrorLog: scrapeLog{s.opt.Logger}, ErrorHandling: promhttp.ContinueOnError})
	for path, e := range map[string]endpoint{
		"/livez":                      {http.MethodGet: s.livez},
		"/readyz":                     {http.MethodGet: s.readyz},
		"/healthz":                    {http.MethodGet: s.healthz},
		"/metrics":                    {http.MethodGet: scrape.ServeHTTP},
		"/v1/masters":                 {http.MethodGet: s.masters},
		"/v1/masters/{name}":          {http.MethodGet: s.master},
		"/v1/masters/{name}/history":  {http.MethodGet: s.history},
		"/v1/masters/{name}/check":    {http.MethodGet: s.check},
		"/v1/masters/{name}/handover": {http.MethodPost: s.asks(sentinel.RequestHandover)},
		"/v1/masters/{name}/failover": {http.MethodPost: s.asks(sentinel.RequestFailover)},
		"/v1/masters/{name}/release":  {http.MethodPost: s.asks(sentinel.RequestRelease)},
		"/v1/masters/{name}/adopt":    {http.MethodPost: s.asks(sentinel.RequestAdopt)},
		"/v1/masters/{name}/pause":    {http.MethodPost: s.asks(sentinel.RequestPause)},
		"/v1/masters/{name}/vacate":   {http.MethodPost: s.asks(sentinel.RequestVacate)},
		"/v1/masters/{name}/resume":   {http.MethodPost: s.asks(sentinel.RequestResume)},
		"/v1/peers":                   {http.MethodGet: s.peers},
		"/v1/peers/{id}":              {http.MethodDelete: s.removePeer},
		"/v1/recover":                 {http.MethodPost: s.recover},
		"/v1/version":                 {http.MethodGet: s.version},
	} {
		mux.Handle(path, s.dispatch(e))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, CodeNotFound, "there is nothing at "+r.URL.Path)
	})
	return http.MaxBytesHandler(mux, maxBody)
}

// scrapeLog hands the metrics handler's complaints to the logger.
type scrapeLog struct{ log *zap.Logger }

func (l scrapeLog) Println(v ...any) {
	l.log.Warn("scrape failed", zap.String("error", fmt.Sprint(v...)))
}

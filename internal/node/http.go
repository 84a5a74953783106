package node

import (
	"encoding/json"
	"fmt"
	stdlog "log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// What an HTTP client may take before it is cut off. A WebSocket is free of them
// from the moment it is one; its door has limits of its own.
const (
	httpHeaderTimeout = 5 * time.Second
	httpReadTimeout   = 10 * time.Second
	httpWriteTimeout  = 30 * time.Second
	httpIdleTimeout   = 60 * time.Second
	httpHeaderBytes   = 16 << 10
)

// newHTTPServer gives the server of n's paths.
func (n *Node) newHTTPServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", n.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(n.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /api/v1/status", n.serveStatus)
	mux.HandleFunc("GET /{$}", n.servePage)
	mux.Handle("/mqtt", n.whenReady(func() http.Handler { return n.mqtt.WebSocket() }))
	mux.Handle("/nack", n.whenReady(func() http.Handler { return n.native.WebSocket() }))
	var h http.Handler = mux
	if !n.cfg.AllowAnonymous {
		h = guard(h, n.cfg.HTTPOrigins)
	}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: httpHeaderTimeout,
		ReadTimeout:       httpReadTimeout,
		WriteTimeout:      httpWriteTimeout,
		IdleTimeout:       httpIdleTimeout,
		MaxHeaderBytes:    httpHeaderBytes,
		ErrorLog:          stdlog.New(n.log.With().Str("room", "http").Logger(), "", 0),
	}
}

// serveReady answers 200 when the node takes clients, and otherwise 503 with
// the reason.
func (n *Node) serveReady(w http.ResponseWriter, _ *http.Request) {
	if s := n.State(); s != Ready {
		http.Error(w, s.String(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// whenReady serves by a door once there is one: doors open last and close first.
func (n *Node) whenReady(door func() http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := n.State(); s != Ready {
			w.Header().Set("Retry-After", "1")
			http.Error(w, s.String(), http.StatusServiceUnavailable)
			return
		}
		door().ServeHTTP(w, r)
	})
}

func (n *Node) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(n.Status()) // the client is gone if this fails
}

package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// logger hands on what the server reports. It implements server.Logger.
type logger struct {
	to *slog.Logger

	mu sync.Mutex
	// reason is guarded by mu. It is the first thing that was fatal.
	reason string
}

// Fatalf does not end the process: who started the server learns of it.
func (l *logger) Fatalf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason == "" {
		l.reason = fmt.Sprintf(format, args...)
	}
}

func (l *logger) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}

// Noticef is for what a server of its own would print when it starts and stops.
func (l *logger) Noticef(format string, args ...any) { l.log(slog.LevelDebug, format, args) }
func (l *logger) Warnf(format string, args ...any)   { l.log(slog.LevelWarn, format, args) }
func (l *logger) Errorf(format string, args ...any)  { l.log(slog.LevelError, format, args) }
func (l *logger) Debugf(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }
func (l *logger) Tracef(format string, args ...any)  { l.log(slog.LevelDebug, format, args) }

func (l *logger) log(level slog.Level, format string, args []any) {
	ctx := context.Background()
	if l.to.Enabled(ctx, level) {
		l.to.LogAttrs(ctx, level, "nats server", slog.String("report", fmt.Sprintf(format, args...)))
	}
}

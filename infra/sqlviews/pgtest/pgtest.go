// Package pgtest runs a PostgreSQL server for tests, from the binaries that are
// installed. It listens on a socket in a directory of its own, keeps nothing
// safe, and ends with the process that started it, however that ends.
package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotInstalled says that no server was found. Tests that need one skip.
var ErrNotInstalled = errors.New("PostgreSQL's server is not installed: run 'go tool task setup', or put initdb and postgres on the PATH")

// Cluster is a server with any number of databases.
type Cluster struct {
	dir, postgres string
	settings      []string
	made          atomic.Int64 // databases

	cmd  *exec.Cmd // nil while it is stopped
	hold io.WriteCloser
}

// watch runs the server until its input ends, which it does with the process
// that holds the other end.
const watch = `"$@" & server=$!; read -r word; kill -QUIT $server; wait $server; [ "$word" = keep ] || rm -rf "$DIR"`

// Start makes a cluster and starts it. The settings are those of postgresql.conf,
// such as "work_mem=64MB".
func Start(ctx context.Context, settings ...string) (*Cluster, error) {
	initdb, postgres, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, postgres: postgres, settings: settings}
	cmd := exec.CommandContext(ctx, initdb, "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if err := disown(cmd, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// binaries finds the programs, on the PATH or where Debian puts them.
func binaries() (initdb, postgres string, err error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is good
	slices.Reverse(dirs)                                  // the newest first
	for _, dir := range append([]string{""}, dirs...) {
		initdb, err1 := exec.LookPath(filepath.Join(dir, "initdb"))
		postgres, err2 := exec.LookPath(filepath.Join(dir, "postgres"))
		if cmp.Or(err1, err2) == nil {
			return initdb, postgres, nil
		}
	}
	return "", "", ErrNotInstalled
}

// Start starts the server again after Stop.
func (c *Cluster) Start(ctx context.Context) error {
	args := []string{
		"-c", watch, "sh", c.postgres, "-D", filepath.Join(c.dir, "data"), "-k", c.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB",
	}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Env = append(os.Environ(), "DIR="+c.dir)
	if err := disown(cmd, c.dir); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own handle
	cmd.Stdout, cmd.Stderr = log, log
	if c.hold, err = cmd.StdinPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.cmd = cmd
	return c.ready(ctx)
}

// ready waits until the server takes connections.
func (c *Cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(c.dir, "log")) // there may be none
			return fmt.Errorf("postgres doesn't answer: %w\n%s", err, log)
		case <-tick.C:
		}
	}
}

// Stop ends the server at once, as a crash does. What it holds stays.
func (c *Cluster) Stop() error { return c.end("keep\n") }

// Close ends the server and removes all it holds.
func (c *Cluster) Close() error {
	return errors.Join(c.end("\n"), os.RemoveAll(c.dir))
}

func (c *Cluster) end(word string) error {
	if c.cmd == nil {
		return nil
	}
	_, err := io.WriteString(c.hold, word)
	err = errors.Join(err, c.hold.Close(), c.cmd.Wait())
	c.cmd = nil
	if _, failed := errors.AsType[*exec.ExitError](err); failed {
		return nil // it was told to end
	}
	return err
}

// Database makes an empty database and returns its URL.
func (c *Cluster) Database(ctx context.Context) (url string, err error) {
	conn, err := pgx.Connect(ctx, c.url("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // it is done with
	name := fmt.Sprintf("test_%d", c.made.Add(1))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return c.url(name), nil
}

func (c *Cluster) url(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", database, c.dir)
}

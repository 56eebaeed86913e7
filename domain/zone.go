package domain

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// zoneFile is the time zone database of IANA, which is in the public domain, as
// the Go distribution has it in lib/time. Windows of limits are folded from the
// log by it, so it is part of this program and not of the machine: two nodes
// with different ones would count in different windows.
//
//go:embed zoneinfo.zip
var zoneFile []byte

// zones remembers what was read of it, by name.
var zones sync.Map

// zoneFiles finds the database's entries by name.
var zoneFiles = sync.OnceValues(func() (map[string]*zip.File, error) {
	r, err := zip.NewReader(bytes.NewReader(zoneFile), int64(len(zoneFile)))
	if err != nil {
		return nil, err
	}
	files := make(map[string]*zip.File, len(r.File))
	for _, f := range r.File {
		files[f.Name] = f
	}
	return files, nil
})

// loadZone finds a zone by its IANA name. It refuses the names that mean
// something else on each machine.
func loadZone(name string) (*time.Location, error) {
	if name == "UTC" {
		return time.UTC, nil
	}
	if zone, ok := zones.Load(name); ok {
		return zone.(*time.Location), nil
	}
	zone, err := readZone(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not a time zone; use an IANA name such as Europe/Berlin", quote(name))
	}
	zones.Store(name, zone)
	return zone, nil
}

func readZone(name string) (*time.Location, error) {
	files, err := zoneFiles()
	if err != nil {
		return nil, err
	}
	f := files[name]
	if f == nil || strings.HasSuffix(name, "/") || name == "Factory" {
		return nil, fmt.Errorf("no zone %s", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(name, data)
}

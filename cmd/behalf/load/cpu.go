package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// process is what a node's metrics say of its process, in seconds.
type process struct{ started, used float64 }

// processes asks every node.
func (o *Options) processes(ctx context.Context) ([]process, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list := make([]process, len(o.URLs))
	for i, url := range o.URLs {
		var err error
		if list[i], err = processOf(ctx, url); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func processOf(ctx context.Context, url string) (p process, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return p, fmt.Errorf("the address of a node: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	found := 0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		into := map[string]*float64{"process_start_time_seconds": &p.started, "process_cpu_seconds_total": &p.used}[name]
		if into == nil {
			continue
		}
		if *into, err = strconv.ParseFloat(text, 64); err != nil {
			return p, fmt.Errorf("%s/metrics: %w", url, err)
		}
		found++
	}
	if found != 2 {
		return p, fmt.Errorf("%s/metrics doesn't tell of the process", url)
	}
	return p, lines.Err()
}

// cpuBetween is the processor time that all nodes used between two readings.
func cpuBetween(before, after []process) (total float64, err error) {
	for i := range before {
		if before[i].started != after[i].started {
			return 0, errors.New("a node was started anew meanwhile")
		}
		total += after[i].used - before[i].used
	}
	return total, nil
}

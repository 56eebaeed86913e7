package outbound_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/behalf-platform/behalf/infra/outbound"
)

// A name that leads to a receiver, and a moment later to somewhere inside, is
// caught when it is connected to: what was looked up before counts for nothing.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	var now atomic.Value // what the name stands for
	client := mustClient(t, func(c *outbound.Config) {
		c.Networks, c.Resolver = networks("127.0.0.1/32"), resolver(t, &now)
	})
	to := delivery(t, "http://hooks.example.com:"+port)
	for _, step := range []struct {
		stands []string
		want   outbound.Category
		hits   int32
	}{
		{[]string{"127.0.0.1"}, outbound.OK, 1},
		{[]string{"127.0.0.2"}, outbound.Blocked, 1},
		{[]string{"169.254.169.254"}, outbound.Blocked, 1},
		{[]string{"::1"}, outbound.Blocked, 1},
		{[]string{"::ffff:127.0.0.2"}, outbound.Blocked, 1},
		{[]string{"fe80::1", "10.0.0.1"}, outbound.Blocked, 1},
		{[]string{"10.0.0.1", "127.0.0.1"}, outbound.OK, 2}, // what is not allowed is passed over
		{nil, outbound.DNS, 2},
	} {
		now.Store(step.stands)
		client.Close() // or the connection of the last step would be used again
		got := client.Send(t.Context(), to)
		if got.Category != step.want || reached.Load() != step.hits {
			t.Errorf("%q: got %+v and %d deliveries, want %s and %d", step.stands, got, reached.Load(), step.want, step.hits)
		}
		for _, address := range step.stands {
			if strings.Contains(got.Category.Text()+got.Answer, address) {
				t.Errorf("the customer is told %s", address)
			}
		}
	}
}

// resolver asks a name server that answers every name with what now holds.
func resolver(t *testing.T, now *atomic.Value) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(far, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(far, query); err != nil {
					return
				}
				answer := answerTo(t, query, now.Load().([]string))
				if _, err := far.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
					return
				}
			}
		}()
		return near, nil
	}}
}

func answerTo(t *testing.T, query []byte, addresses []string) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		t.Error(err)
		return nil
	}
	m.Response, m.Additionals = true, nil
	for _, address := range addresses {
		addr, question := netip.MustParseAddr(address), m.Questions[0]
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class}
		switch {
		case question.Type == dnsmessage.TypeA && addr.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case question.Type == dnsmessage.TypeAAAA && addr.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	answer, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return answer
}

package domain

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func TestWindow(t *testing.T) {
	t.Parallel()
	office := Window{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}
	sunday := Window{Days: []string{"sun"}, From: "01:00", To: "04:00", TimeZone: "Europe/Berlin"}
	gap := Window{Days: []string{"sun"}, From: "02:00", To: "03:00", TimeZone: "Europe/Berlin"}
	newYork := Window{Days: []string{"sun"}, From: "01:00", To: "02:00", TimeZone: "America/New_York"}
	newYorkGap := Window{Days: []string{"sun"}, From: "02:00", To: "03:00", TimeZone: "America/New_York"}
	nights := Window{Days: []string{"sat", "sun"}, From: "22:00", To: "06:00", TimeZone: "America/New_York"}
	saturdayNight := Window{Days: []string{"sat"}, From: "22:00", To: "06:00", TimeZone: "Europe/Berlin"}
	toMidnight := Window{Days: []string{"mon"}, From: "22:00", To: "24:00", TimeZone: "UTC"}
	untilZero := Window{Days: []string{"mon"}, From: "22:00", To: "00:00", TimeZone: "UTC"}
	wholeDay := Window{Days: []string{"sun"}, From: "00:00", To: "24:00", TimeZone: "Europe/Berlin"}
	for _, tt := range []struct {
		name   string
		window Window
		at     string
		want   bool
	}{
		{"the first moment", office, "2026-07-06T09:00:00+02:00", true},
		{"just before it", office, "2026-07-06T08:59:59.999999999+02:00", false},
		{"the last moment", office, "2026-07-06T16:59:59.999999999+02:00", true},
		{"the end is outside", office, "2026-07-06T17:00:00+02:00", false},
		{"another day", office, "2026-07-05T12:00:00+02:00", false},
		{"the same moment told in UTC", office, "2026-07-06T07:00:00Z", true},
		{"the same moment told elsewhere", office, "2026-07-06T16:00:00+09:00", true},
		{"nine in UTC is not nine in Berlin", office, "2026-07-06T15:30:00Z", false},
		{"in winter it is an hour later in UTC", office, "2026-01-05T07:59:59Z", false},
		{"and begins then", office, "2026-01-05T08:00:00Z", true},
		{"the day is that of Berlin", wholeDay, "2026-07-04T22:00:00Z", true},
		{"and ends with it", wholeDay, "2026-07-05T22:00:00Z", false},

		// Berlin, 29 March 2026: 02:00 becomes 03:00, at 01:00Z.
		{"before the hour that is skipped", sunday, "2026-03-29T00:59:59Z", true},
		{"after the hour that is skipped", sunday, "2026-03-29T01:00:00Z", true},
		{"the end on that day", sunday, "2026-03-29T02:00:00Z", false},
		{"a window in the skipped hour is not before it", gap, "2026-03-29T00:59:59Z", false},
		{"and not after it", gap, "2026-03-29T01:00:00Z", false},
		{"a week before it was there", gap, "2026-03-22T01:30:00Z", true},
		// Berlin, 25 October 2026: 03:00 becomes 02:00, at 01:00Z.
		{"the hour that comes twice, first", gap, "2026-10-25T00:30:00Z", true},
		{"the hour that comes twice, again", gap, "2026-10-25T01:30:00Z", true},
		{"before it", gap, "2026-10-24T23:59:59Z", false},
		{"after it", gap, "2026-10-25T02:00:00Z", false},
		// New York, 8 March 2026: 02:00 becomes 03:00, at 07:00Z.
		{"New York before the hour that is skipped", newYork, "2026-03-08T06:59:59Z", true},
		{"New York after it", newYork, "2026-03-08T07:00:00Z", false},
		{"New York in the skipped hour, before", newYorkGap, "2026-03-08T06:59:59Z", false},
		{"New York in the skipped hour, after", newYorkGap, "2026-03-08T07:00:00Z", false},
		// New York, 1 November 2026: 02:00 becomes 01:00, at 06:00Z.
		{"New York, the hour that comes twice, first", newYork, "2026-11-01T05:30:00Z", true},
		{"New York, the hour that comes twice, again", newYork, "2026-11-01T06:30:00Z", true},
		{"New York after it", newYork, "2026-11-01T07:00:00Z", false},

		{"overnight, at its start", nights, "2026-07-04T22:00:00-04:00", true},
		{"overnight, just before", nights, "2026-07-04T21:59:59-04:00", false},
		{"overnight, the next morning", nights, "2026-07-05T05:59:59-04:00", true},
		{"overnight, its end", nights, "2026-07-05T06:00:00-04:00", false},
		{"overnight over the end of the week", nights, "2026-07-06T05:00:00-04:00", true},
		{"not the night that begins then", nights, "2026-07-06T22:00:00-04:00", false},
		{"not the night before", nights, "2026-07-04T05:00:00-04:00", false},
		{"one night over the end of the week", saturdayNight, "2026-07-05T03:00:00+02:00", true},
		{"not the next one", saturdayNight, "2026-07-05T23:00:00+02:00", false},
		{"overnight when an hour is skipped", saturdayNight, "2026-03-29T03:59:59Z", true},
		{"and its end", saturdayNight, "2026-03-29T04:00:00Z", false},
		{"overnight when an hour comes twice", saturdayNight, "2026-10-25T04:59:59Z", true},
		{"and its end", saturdayNight, "2026-10-25T05:00:00Z", false},

		{"until 24:00", toMidnight, "2026-07-06T23:59:59Z", true},
		{"not after 24:00", toMidnight, "2026-07-07T00:00:00Z", false},
		{"not at the start of that day", toMidnight, "2026-07-06T00:00:00Z", false},
		{"until 00:00 is the same", untilZero, "2026-07-06T23:59:59Z", true},
		{"not after 00:00", untilZero, "2026-07-07T00:00:00Z", false},
		{"not at the start of that day either", untilZero, "2026-07-06T00:00:00Z", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, err := compileWindow(tt.window)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339Nano, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.contains(at); got != tt.want {
				t.Errorf("%s, which is %s: got %v, want %v", tt.at, at.In(w.zone).Format("Mon 15:04 MST"), got, tt.want)
			}
		})
	}
}

func TestWindowRefuses(t *testing.T) {
	t.Parallel()
	good := Window{Days: []string{"mon"}, From: "09:00", To: "17:00", TimeZone: "Europe/Berlin"}
	if _, err := compileWindow(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*Window)
	}{
		{"no days", func(w *Window) { w.Days = nil }},
		{"an empty list of days", func(w *Window) { w.Days = []string{} }},
		{"a day twice", func(w *Window) { w.Days = []string{"mon", "tue", "mon"} }},
		{"a day in upper case", func(w *Window) { w.Days = []string{"Mon"} }},
		{"a day written out", func(w *Window) { w.Days = []string{"monday"} }},
		{"an empty day", func(w *Window) { w.Days = []string{""} }},
		{"no beginning", func(w *Window) { w.From = "" }},
		{"no end", func(w *Window) { w.To = "" }},
		{"one digit", func(w *Window) { w.From = "9:00" }},
		{"seconds", func(w *Window) { w.From = "09:00:00" }},
		{"a beginning at 24:00", func(w *Window) { w.From = "24:00" }},
		{"an end after 24:00", func(w *Window) { w.To = "24:01" }},
		{"hour 25", func(w *Window) { w.To = "25:00" }},
		{"minute 60", func(w *Window) { w.To = "16:60" }},
		{"a sign", func(w *Window) { w.From = "+9:00" }},
		{"a point", func(w *Window) { w.From = "09.00" }},
		{"a space", func(w *Window) { w.From = " 9:00" }},
		{"other digits", func(w *Window) { w.From = "٠٩:٠٠" }},
		{"twelve hours", func(w *Window) { w.To = "05:00pm" }},
		{"not a number", func(w *Window) { w.From = "Na:N!" }},
		{"an end at the beginning", func(w *Window) { w.To = "09:00" }},
		{"midnight to midnight", func(w *Window) { w.From, w.To = "00:00", "00:00" }},
		{"no zone", func(w *Window) { w.TimeZone = "" }},
		{"the zone of the machine", func(w *Window) { w.TimeZone = "Local" }},
		{"the same by its file", func(w *Window) { w.TimeZone = "localtime" }},
		{"the rules of the machine", func(w *Window) { w.TimeZone = "posixrules" }},
		{"a zone with leap seconds", func(w *Window) { w.TimeZone = "right/Europe/Berlin" }},
		{"a zone by another name", func(w *Window) { w.TimeZone = "posix/Europe/Berlin" }},
		{"no place", func(w *Window) { w.TimeZone = "Europe/Nowhere" }},
		{"a continent", func(w *Window) { w.TimeZone = "Europe" }},
		{"an offset", func(w *Window) { w.TimeZone = "+02:00" }},
		{"a rule", func(w *Window) { w.TimeZone = "CET-1CEST,M3.5.0,M10.5.0/3" }},
		{"a climb", func(w *Window) { w.TimeZone = "../../etc/localtime" }},
		{"a file", func(w *Window) { w.TimeZone = "/etc/localtime" }},
		{"another file", func(w *Window) { w.TimeZone = "tzdata.zi" }},
		{"a space before", func(w *Window) { w.TimeZone = " Europe/Berlin" }},
		{"a trailing slash", func(w *Window) { w.TimeZone = "Europe/Berlin/" }},
		{"two slashes", func(w *Window) { w.TimeZone = "Europe//Berlin" }},
		{"a NUL", func(w *Window) { w.TimeZone = "Europe/Berlin\x00" }},
		{"very long", func(w *Window) { w.TimeZone = strings.Repeat("a", 100_000) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := good
			tt.change(&w)
			if got, err := compileWindow(w); err == nil || got != (window{}) {
				t.Errorf("got %+v, %v, want it refused", got, err)
			}
		})
	}
}

func TestTheZeroWindowContainsNothing(t *testing.T) {
	t.Parallel()
	if (window{}).contains(time.Time{}) {
		t.Error("got a moment in it, want none")
	}
}

func BenchmarkWindow(b *testing.B) {
	w, err := compileWindow(Window{Days: []string{"mon", "tue"}, From: "22:00", To: "06:00", TimeZone: "America/New_York"})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 7, 6, 12, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		w.contains(at)
	}
}

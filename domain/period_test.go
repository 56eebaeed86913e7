package domain

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestPeriodValid(t *testing.T) {
	t.Parallel()
	for _, p := range []Period{PerMinute, PerHour, PerDay, PerWeek, PerMonth, InTotal} {
		if !p.valid() {
			t.Errorf("%s: got not valid, want valid", p)
		}
	}
	for _, p := range []Period{"", "Day", "days", "year", "total "} {
		if p.valid() {
			t.Errorf("%q: got valid, want not", p)
		}
	}
}

func TestPeriodWindow(t *testing.T) {
	t.Parallel()
	const berlin, newYork = "Europe/Berlin", "America/New_York"
	for _, tt := range []struct {
		name            string
		period          Period
		zone            string
		at, from, until string
	}{
		{"a minute", PerMinute, berlin, "2026-07-06T12:34:56.789Z", "2026-07-06T12:34:00Z", "2026-07-06T12:35:00Z"},
		{"a minute at its first moment", PerMinute, berlin, "2026-07-06T12:34:00Z", "2026-07-06T12:34:00Z", "2026-07-06T12:35:00Z"},
		{"a minute at its last moment", PerMinute, berlin, "2026-07-06T12:34:59.999999999Z", "2026-07-06T12:34:00Z", "2026-07-06T12:35:00Z"},
		{"a minute where the clock is off by 28 seconds", PerMinute, berlin, "1890-01-01T00:00:00Z", "1889-12-31T23:59:32Z", "1890-01-01T00:00:32Z"},
		{"a minute before 1970", PerMinute, "UTC", "1969-12-31T23:59:59.5Z", "1969-12-31T23:59:00Z", "1970-01-01T00:00:00Z"},
		{"an hour", PerHour, berlin, "2026-07-06T12:34:56Z", "2026-07-06T12:00:00Z", "2026-07-06T13:00:00Z"},
		{"an hour in India", PerHour, "Asia/Kolkata", "2026-07-06T12:34:56Z", "2026-07-06T12:30:00Z", "2026-07-06T13:30:00Z"},
		{"an hour in Nepal", PerHour, "Asia/Kathmandu", "2026-07-06T12:34:56Z", "2026-07-06T12:15:00Z", "2026-07-06T13:15:00Z"},
		{"the hour that comes twice, first", PerHour, berlin, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},
		{"the hour that comes twice, again", PerHour, berlin, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},
		{"the hour before half of it comes twice", PerHour, "Australia/Lord_Howe", "2026-04-04T14:30:00Z", "2026-04-04T14:00:00Z", "2026-04-04T15:00:00Z"},
		{"the half that comes twice", PerHour, "Australia/Lord_Howe", "2026-04-04T15:10:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:30:00Z"},
		{"the hour half of which is skipped", PerHour, "Australia/Lord_Howe", "2026-10-03T15:40:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		{"an hour over the end of the year in UTC", PerHour, "America/St_Johns", "2026-12-31T23:45:00Z", "2026-12-31T23:30:00Z", "2027-01-01T00:30:00Z"},
		{"an hour over the last day of a leap year in UTC", PerHour, "America/St_Johns", "2028-12-31T00:10:00Z", "2028-12-30T23:30:00Z", "2028-12-31T00:30:00Z"},

		{"a day", PerDay, berlin, "2026-07-06T12:34:56Z", "2026-07-05T22:00:00Z", "2026-07-06T22:00:00Z"},
		{"a day at its last moment", PerDay, berlin, "2026-07-06T21:59:59.999999999Z", "2026-07-05T22:00:00Z", "2026-07-06T22:00:00Z"},
		{"the next day", PerDay, berlin, "2026-07-06T22:00:00Z", "2026-07-06T22:00:00Z", "2026-07-07T22:00:00Z"},
		{"a day of 23 hours in Berlin", PerDay, berlin, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"a day of 25 hours in Berlin", PerDay, berlin, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"a day of 23 hours in New York", PerDay, newYork, "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"a day of 25 hours in New York", PerDay, newYork, "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"a day long after the tables end", PerDay, newYork, "2196-12-31T12:00:00Z", "2196-12-31T05:00:00Z", "2197-01-01T05:00:00Z"},
		{"the day before a skipped midnight", PerDay, "America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-03T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"a day without midnight", PerDay, "America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		{"a day with its last hour twice", PerDay, "America/Sao_Paulo", "2018-02-18T02:30:00Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"the day after it", PerDay, "America/Sao_Paulo", "2018-02-18T03:00:00Z", "2018-02-18T03:00:00Z", "2018-02-19T03:00:00Z"},
		{"a day without midnight in Cairo", PerDay, "Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},
		{"a day with its last hour twice in Cairo", PerDay, "Africa/Cairo", "2026-10-29T21:30:00Z", "2026-10-28T21:00:00Z", "2026-10-29T22:00:00Z"},
		{"a day without midnight in Beirut", PerDay, "Asia/Beirut", "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		{"a day with midnight twice", PerDay, "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"a day begun for a minute", PerDay, "America/St_Johns", "2010-11-07T02:30:30Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"},
		{"has begun, though the clock goes back to the one before", PerDay, "America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z"},
		{"and that one has ended", PerDay, "America/St_Johns", "2010-11-07T02:29:59Z", "2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z"},
		{"the day before one that is skipped", PerDay, "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{"the day after one that is skipped", PerDay, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},

		{"a week", PerWeek, berlin, "2026-07-08T12:00:00Z", "2026-07-05T22:00:00Z", "2026-07-12T22:00:00Z"},
		{"a week at its last moment", PerWeek, berlin, "2026-07-12T21:59:59Z", "2026-07-05T22:00:00Z", "2026-07-12T22:00:00Z"},
		{"a week on its Monday", PerWeek, berlin, "2026-07-12T22:00:00Z", "2026-07-12T22:00:00Z", "2026-07-19T22:00:00Z"},
		{"a week over new year", PerWeek, berlin, "2027-01-01T12:00:00Z", "2026-12-27T23:00:00Z", "2027-01-03T23:00:00Z"},
		{"a week an hour shorter", PerWeek, newYork, "2026-03-08T12:00:00Z", "2026-03-02T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"a week of six days", PerWeek, "Pacific/Apia", "2011-12-31T12:00:00Z", "2011-12-26T10:00:00Z", "2012-01-01T10:00:00Z"},
		{"a week before 1970", PerWeek, "UTC", "1969-12-28T23:59:59Z", "1969-12-22T00:00:00Z", "1969-12-29T00:00:00Z"},

		{"a month of 31 days", PerMonth, "UTC", "2026-07-31T23:59:59Z", "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"},
		{"a month of 30 days", PerMonth, "UTC", "2026-06-15T00:00:00Z", "2026-06-01T00:00:00Z", "2026-07-01T00:00:00Z"},
		{"February", PerMonth, "UTC", "2026-02-28T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"February of a leap year", PerMonth, "UTC", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"February of 2100", PerMonth, "UTC", "2100-02-28T12:00:00Z", "2100-02-01T00:00:00Z", "2100-03-01T00:00:00Z"},
		{"December", PerMonth, newYork, "2027-01-01T04:59:59Z", "2026-12-01T05:00:00Z", "2027-01-01T05:00:00Z"},
		{"a month an hour shorter", PerMonth, berlin, "2026-03-10T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		{"a month an hour longer", PerMonth, berlin, "2026-10-10T00:00:00Z", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},
		{"a month that begins without midnight", PerMonth, "Asia/Beirut", "1988-06-01T00:00:00Z", "1988-05-31T22:00:00Z", "1988-06-30T21:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			zone, at := mustZone(t, tt.zone), mustTime(t, tt.at)
			from, until := tt.period.window(at, zone)
			if from != mustTime(t, tt.from) || until != mustTime(t, tt.until) {
				t.Errorf("%s in %s: got %s to %s, want %s to %s", tt.at, tt.zone,
					from.Format(time.RFC3339), until.Format(time.RFC3339), tt.from, tt.until)
			}
		})
	}
}

func TestPeriodInTotalNeverEnds(t *testing.T) {
	t.Parallel()
	for _, p := range []Period{InTotal, "", "year"} {
		if from, until := p.window(noon, time.UTC); !from.IsZero() || !until.IsZero() {
			t.Errorf("%q: got %s to %s, want the zero times", p, from, until)
		}
	}
}

// Every moment is in exactly one window, whatever the clocks of a zone do.
func TestPeriodWindowsPartitionTime(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/Havana",
		"America/St_Johns", "America/Caracas", "Africa/Cairo", "Africa/Casablanca", "Africa/Monrovia",
		"Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Tehran",
		"Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			zone := mustZone(t, name)
			random := rand.New(rand.NewPCG(1995, 2035))
			first, last := time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 500 {
				checkWindows(t, first.Add(time.Duration(random.Int64N(int64(last.Sub(first))))), zone)
			}
			// Near each change of the clocks is where it goes wrong.
			for at := first; at.Before(last); {
				_, change := at.In(zone).ZoneBounds()
				if change.IsZero() {
					break
				}
				for _, off := range []time.Duration{-1, 0, 1} {
					checkWindows(t, change.Add(off), zone)
				}
				for range 10 {
					checkWindows(t, change.Add(time.Duration(random.Int64N(int64(50*time.Hour)))-25*time.Hour), zone)
				}
				// In a leap year the change that is told may have been before.
				at = at.Add(24 * time.Hour)
				if change.After(at) {
					at = change
				}
			}
		})
	}
}

func checkWindows(t *testing.T, at time.Time, zone *time.Location) {
	t.Helper()
	for _, p := range []Period{PerMinute, PerHour, PerDay, PerWeek, PerMonth} {
		from, until := p.window(at, zone)
		told := func() string {
			return string(p) + " of " + at.In(zone).Format(time.RFC3339Nano) + ": got " +
				from.In(zone).Format(time.RFC3339) + " to " + until.In(zone).Format(time.RFC3339)
		}
		if at.Before(from) || !at.Before(until) {
			t.Fatalf("%s, want it to hold that moment", told())
		}
		for _, other := range []time.Time{from, from.Add(until.Sub(from) / 2), until.Add(-1)} {
			if f, u := p.window(other, zone); f != from || u != until {
				t.Fatalf("%s, want that from %s as well, got %s to %s", told(), other, f, u)
			}
		}
		if next, _ := p.window(until, zone); next != until {
			t.Fatalf("%s, want the next to begin where it ends, got %s", told(), next)
		}
		if _, before := p.window(from.Add(-1), zone); before != from {
			t.Fatalf("%s, want the one before to end where it begins, got %s", told(), before)
		}
		if p == PerMinute || p == PerHour {
			continue
		}
		// A new date is on the clock, and was not there until then.
		year, month, day := from.In(zone).Date()
		was := from.Add(-1).In(zone)
		if y, m, d := was.Date(); y*1e4+int(m)*100+d >= year*1e4+int(month)*100+day {
			t.Fatalf("%s, want a new date where it begins, got that of %s", told(), was)
		}
		switch {
		case p == PerWeek && from.In(zone).Weekday() != time.Monday,
			p == PerMonth && day != 1:
			t.Fatalf("%s, want it to begin on a Monday or the 1st", told())
		}
	}
}

func TestPeriodWindowAllocatesNothing(t *testing.T) {
	zone := mustZone(t, "America/New_York")
	if n := testing.AllocsPerRun(100, func() { PerMonth.window(noon, zone) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func mustTime(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func BenchmarkPeriod(b *testing.B) {
	zone := mustZone(b, "America/New_York")
	for name, at := range map[string]time.Time{
		"summer": time.Date(2026, 7, 6, 12, 0, 0, 0, time.UTC),
		"winter": time.Date(2027, 1, 20, 12, 0, 0, 0, time.UTC),
		"change": time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC),
	} {
		for _, p := range []Period{PerMinute, PerHour, PerDay, PerWeek, PerMonth} {
			b.Run(string(p)+" in "+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.window(at, zone)
				}
			})
		}
	}
}

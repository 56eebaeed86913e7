package domain

import (
	"fmt"
	"time"
)

// Window is a time of the week, by the wall clock of a zone. It holds from From
// up to but not including To. If To is the earlier one it spans midnight, and
// Days name the day it begins on.
type Window struct {
	// Days are mon, tue, wed, thu, fri, sat, sun.
	Days []string `json:"days"`
	// From and To are HH:MM. To may be 24:00.
	From string `json:"from"`
	To   string `json:"to"`
	// TimeZone is an IANA name, such as Europe/Berlin.
	TimeZone string `json:"timeZone"`
}

// window is a Window made ready. The zero window contains no moment.
type window struct {
	days     [7]bool // by time.Weekday
	from, to int     // minutes of the day
	zone     *time.Location
}

func compileWindow(w Window) (window, error) {
	var c window
	if len(w.Days) == 0 {
		return window{}, fmt.Errorf("has no days; list some of mon, tue, wed, thu, fri, sat, sun")
	}
	for _, name := range w.Days {
		day, ok := weekday(name)
		if !ok {
			return window{}, fmt.Errorf("%s is not a day; use mon, tue, wed, thu, fri, sat, sun", quote(name))
		}
		if c.days[day] {
			return window{}, fmt.Errorf("lists the day %s twice", name)
		}
		c.days[day] = true
	}
	var ok bool
	if c.from, ok = minutes(w.From); !ok || c.from == dayMinutes {
		return window{}, fmt.Errorf("%s is not a time to begin at; use HH:MM from 00:00 to 23:59", quote(w.From))
	}
	if c.to, ok = minutes(w.To); !ok {
		return window{}, fmt.Errorf("%s is not a time to end at; use HH:MM from 00:00 to 24:00", quote(w.To))
	}
	if c.from == c.to {
		return window{}, fmt.Errorf("begins and ends at %s, which could mean always or never; for whole days use 00:00 to 24:00", w.From)
	}
	zone, err := loadZone(w.TimeZone)
	if err != nil {
		return window{}, err
	}
	c.zone = zone
	return c, nil
}

// contains goes by the wall clock: an hour that is skipped holds nothing, and
// one that comes twice holds twice.
func (w window) contains(t time.Time) bool {
	if w.zone == nil {
		return false
	}
	local := t.In(w.zone)
	today := local.Weekday()
	now := local.Hour()*60 + local.Minute()
	if w.from < w.to {
		return w.days[today] && w.from <= now && now < w.to
	}
	yesterday := (today + 6) % 7
	return w.days[today] && now >= w.from || w.days[yesterday] && now < w.to
}

func weekday(name string) (time.Weekday, bool) {
	switch name {
	case "sun":
		return time.Sunday, true
	case "mon":
		return time.Monday, true
	case "tue":
		return time.Tuesday, true
	case "wed":
		return time.Wednesday, true
	case "thu":
		return time.Thursday, true
	case "fri":
		return time.Friday, true
	case "sat":
		return time.Saturday, true
	}
	return 0, false
}

const dayMinutes = 24 * 60

// minutes reads HH:MM, up to and including 24:00.
func minutes(s string) (int, bool) {
	if len(s) != 5 || s[2] != ':' || !allDigits(s[:2]) || !allDigits(s[3:]) {
		return 0, false
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	n := h*60 + m
	return n, m < 60 && n <= dayMinutes
}

package handlers_test

import (
	"html"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

// shownAs is each field of a permission, as the terms of one that has it, and how
// the page and the texts show it. What shows it must not be there without it.
var shownAs = map[string]struct{ terms, want string }{
	"action":                   {`{"action":"seen.action"}`, "seen.action"},
	"allowedActions":           {`{"allowedActions":["seen.one","seen.two"]}`, "seen.two"},
	"blockedActions":           {`{"action":"act","blockedActions":["seen.never"]}`, "seen.never"},
	"resource":                 {`{"action":"act","resource":["seen/**"]}`, "seen/**"},
	"vendors":                  {`{"action":"act","vendors":["*.seen.example.com"]}`, "*.seen.example.com"},
	"maxAmount":                {`{"action":"act","maxAmount":"77","currency":"USD"}`, "77.00"},
	"currency":                 {`{"action":"act","maxAmount":"77","currency":"BHD"}`, "77.000 BHD"},
	"context.branch":           {`{"action":"act","context":{"branch":"seen/branch"}}`, "seen/branch"},
	"context.environment":      {`{"action":"act","context":{"environment":"seen-env"}}`, "seen-env"},
	"context.repository":       {`{"action":"act","context":{"repository":"seen/repo"}}`, "seen/repo"},
	"paths":                    {`{"action":"act","paths":["/seen/path"]}`, "/seen/path"},
	"deniedPaths":              {`{"action":"act","deniedPaths":["/seen/secret"]}`, "/seen/secret"},
	"deniedCommands":           {`{"action":"act","deniedCommands":["rm -rf"]}`, "rm -rf"},
	"notBefore":                {`{"action":"act","notBefore":"2031-02-03T04:05:06Z"}`, "2031-02-03 04:05:06 UTC"},
	"expiresAt":                {`{"action":"act","expiresAt":"2031-02-03T04:05:06.5Z"}`, "2031-02-03 04:05:06.5 UTC"},
	"timeWindows.days":         {`{"action":"act","timeWindows":[{"days":["wed"],"from":"08:00","to":"20:00","timeZone":"UTC"}]}`, "Wed, 08:00"},
	"timeWindows.from":         {`{"action":"act","timeWindows":[{"days":["wed"],"from":"08:17","to":"20:00","timeZone":"UTC"}]}`, "08:17 to"},
	"timeWindows.to":           {`{"action":"act","timeWindows":[{"days":["wed"],"from":"08:00","to":"20:17","timeZone":"UTC"}]}`, "to 20:17"},
	"timeWindows.timeZone":     {`{"action":"act","timeWindows":[{"days":["wed"],"from":"08:00","to":"20:00","timeZone":"Asia/Tokyo"}]}`, "Asia/Tokyo"},
	"description":              {`{"action":"act","description":"seen about"}`, "seen about"},
	"requiresApproval.Always":  {`{"action":"act","requiresApproval":true}`, "A person is asked each time"},
	"requiresApproval.Above":   {`{"action":"act","requiresApproval":"33","currency":"USD"}`, "A person is asked above 33.00 USD"},
	"approval.minRole":         {`{"action":"act","requiresApproval":true,"approval":{"minRole":"ADMIN"}}`, "ADMIN"},
	"approval.quorum":          {`{"action":"act","requiresApproval":true,"approval":{"quorum":3}}`, "3 people have to say yes"},
	"approval.pendingFor":      {`{"action":"act","requiresApproval":true,"approval":{"pendingFor":"2h"}}`, "waits 2h for an answer"},
	"approval.validFor":        {`{"action":"act","requiresApproval":true,"approval":{"validFor":"10m"}}`, "a yes is good for 10m"},
	"approval.denialFor":       {`{"action":"act","requiresApproval":true,"approval":{"denialFor":"20m"}}`, "a no stands for 20m"},
	"budgets.amount":           {`{"action":"act","budgets":[{"amount":"55","currency":"USD","per":"day"}]}`, "55.00"},
	"budgets.currency":         {`{"action":"act","budgets":[{"amount":"55","currency":"BHD","per":"day"}]}`, "55.000 BHD"},
	"budgets.per":              {`{"action":"act","budgets":[{"amount":"55","currency":"USD","per":"month"}]}`, "per month"},
	"budgets.timeZone":         {`{"action":"act","budgets":[{"amount":"55","currency":"USD","per":"day","timeZone":"Asia/Tokyo"}]}`, "per day (Asia/Tokyo)"},
	"rates.count":              {`{"action":"act","rates":[{"count":44,"per":"day"}]}`, "44 times"},
	"rates.per":                {`{"action":"act","rates":[{"count":44,"per":"minute"}]}`, "per minute"},
	"rates.timeZone":           {`{"action":"act","rates":[{"count":44,"per":"day","timeZone":"Asia/Tokyo"}]}`, "per day (Asia/Tokyo)"},
	"notes":                    {`{"action":"act","notes":"for members alone"}`, ""},
	"of a block: resource":     {`{"blockedActions":["act"],"resource":["seen/**"]}`, "seen/**"},
	"of a block: vendors":      {`{"blockedActions":["act"],"vendors":["seen.example.com"]}`, "seen.example.com"},
	"of a block: notBefore":    {`{"blockedActions":["act"],"notBefore":"2031-02-03T04:05:00Z"}`, "2031-02-03 04:05 UTC"},
	"of a block: expiresAt":    {`{"blockedActions":["act"],"expiresAt":"2031-02-03T04:05:00Z"}`, "2031-02-03 04:05 UTC"},
	"of a block: description":  {`{"blockedActions":["act"],"description":"seen about"}`, "seen about"},
	"of all: the agent's":      {"", "per hour (Asia/Kolkata)"},
	"of all: the account's":    {"", "per week (America/Lima)"},
	"of all: the agent's rate": {"", "66 times in total"},
}

// Every field of a permission is on the page and in both texts. A field that is
// added to the terms fails this until it is shown, or said why not.
func TestEveryFieldOfAPermissionIsShown(t *testing.T) {
	fields := fieldsOf(reflect.TypeFor[domain.Terms](), "")
	if len(fields) < 30 {
		t.Fatalf("got the fields %q, want all of the terms", fields)
	}
	for _, field := range fields {
		if _, ok := shownAs[field]; !ok {
			t.Errorf("nothing says how the field %s of a permission is shown", field)
		}
	}
	for field := range shownAs {
		if !strings.HasPrefix(field, "of ") && !slices.Contains(fields, field) {
			t.Errorf("there is no field %s", field)
		}
	}
	plain := handlers.PassportView{AgentID: "ollie", Status: domain.AgentActive, Permissions: []handlers.PermissionView{{Terms: domain.Terms{Action: "act"}, Status: domain.PermissionActive}}}
	without := map[string]string{}
	sheet := handlers.NewSheet(plain, domain.Limits{}, time.Time{}, time.Time{})
	without["memory"], without["task"] = sheet.MemoryText(), sheet.TaskText()
	lie(t, func(t *testing.T, b *bed) {
		w := b.node().web(t)
		w.must(200, "PUT", "/v1/account/limits", b.token, `{"budgets":[{"amount":"900","currency":"USD","per":"week","timeZone":"America/Lima"}]}`)
		for field, c := range shownAs {
			agent := "a_" + strings.NewReplacer(".", "_", " ", "_", ":", "", "'", "").Replace(field)
			w.register(b.token, agent)
			if c.terms != "" {
				w.must(201, "POST", "/v1/agents/"+agent+"/permissions", b.token, c.terms)
			} else {
				w.must(200, "PUT", "/v1/agents/"+agent+"/limits", b.token,
					`{"budgets":[{"amount":"800","currency":"USD","per":"hour","timeZone":"Asia/Kolkata"}],"rates":[{"count":66,"per":"total"}]}`)
			}
			id, pass := w.linkTo(b.token, agent, `{}`)
			_, page, _ := w.page(id, pass, nil)
			shown := map[string]string{"the page": html.UnescapeString(page)}
			for _, kind := range []string{"memory", "task"} {
				shown[kind] = w.must(200, "GET", "/v1/agents/"+agent+"/text?kind="+kind, b.token, "").body["text"].(string)
			}
			for where, text := range shown {
				switch {
				case c.want == "":
					if strings.Contains(text, "for members alone") {
						t.Errorf("%s: %s shows it: %s", field, where, text)
					}
				case !strings.Contains(text, c.want):
					t.Errorf("%s: %s has no %q: %s", field, where, c.want, text)
				case strings.Contains(without[where], c.want):
					t.Errorf("%s: %s has %q without it", field, where, c.want)
				}
			}
		}
	})
}

// fieldsOf are the paths of all that a type holds.
func fieldsOf(t reflect.Type, path string) (list []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return []string{path}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		switch {
		case strings.Contains(options, "inline"):
			list = append(list, fieldsOf(f.Type, path)...)
		case path == "":
			list = append(list, fieldsOf(f.Type, name)...)
		default:
			list = append(list, fieldsOf(f.Type, path+"."+name)...)
		}
	}
	return list
}

func TestValuesInTextsStayApart(t *testing.T) {
	t.Parallel()
	view := handlers.PassportView{AgentID: "ollie", Status: domain.AgentActive, Permissions: []handlers.PermissionView{{
		Status: domain.PermissionActive, Terms: domain.Terms{
			AllowedActions: []domain.Action{"a", "b"}, Resource: domain.Patterns{"x, y/**", "*.z", "a`b", "``"}, DeniedCommands: []string{"rm -rf, ls"},
		},
	}}}
	sheet := handlers.NewSheet(view, domain.Limits{}, time.Time{}, time.Time{})
	for _, text := range []string{sheet.MemoryText(), sheet.TaskText()} {
		for _, want := range []string{"- `a`, `b`\n", "  - Resources: `x, y/**`, `*.z`, `` a`b ``, ``` `` ```\n", "  - Never these commands: `rm -rf, ls`\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("got %s, want %q in it", text, want)
			}
		}
	}
}

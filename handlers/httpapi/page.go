package httpapi

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/behalf-platform/behalf/domain"
	"github.com/behalf-platform/behalf/handlers"
)

//go:embed page/page.html page/page.css page/page.js
var pageFiles embed.FS

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"join": func(list []string) string { return strings.Join(list, ", ") },
}).ParseFS(pageFiles, "page/page.html"))

// pagePolicy lets the page run its own script, use its own style, and ask this
// server. Nothing else may be loaded, and nobody may frame it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// Pages lists the patterns of the pages for people, which are no part of the API.
func Pages() []string {
	return []string{"GET /p/page.css", "GET /p/page.js", "GET /p/{link}", "POST /p/{link}"}
}

func (a *API) servePages() {
	a.mux.HandleFunc("GET /p/page.css", pageFile("page/page.css", "text/css; charset=utf-8"))
	a.mux.HandleFunc("GET /p/page.js", pageFile("page/page.js", "text/javascript; charset=utf-8"))
	a.mux.HandleFunc("GET /p/{link}", func(w http.ResponseWriter, r *http.Request) {
		a.sendPage(w, r, http.StatusOK, pageView{Title: "Open a passport"})
	})
	a.mux.HandleFunc("POST /p/{link}", a.openPassport)
}

func pageFile(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body, err := pageFiles.ReadFile(name)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		pageHeader(w.Header(), kind)
		_, _ = w.Write(body)
	}
}

func pageHeader(h http.Header, kind string) {
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h["Cache-Control"] = noStore
}

// pageView is what the page shows: a passport, or why there is none.
type pageView struct {
	Title, Problem string
	Sheet          *pageSheet
	// Token is there when it came by the form, without a script that keeps it.
	Token       string
	Asked       *pageAnswer
	First, Rest []pageField
	More        bool // of Rest, one is filled in
}

type pageSheet struct{ handlers.Sheet }

type pagePermission struct {
	handlers.SheetPermission
	StatusWords string
}

// Allowed are the permissions that allow something, or did, or will.
func (s pageSheet) Allowed() (list []pagePermission) {
	for _, p := range s.Permissions {
		if len(p.Allows) == 0 {
			continue
		}
		if s.State == handlers.SheetDisabled {
			p.Status = domain.PermissionStatus(handlers.SheetDisabled)
		}
		list = append(list, pagePermission{p, strings.ReplaceAll(string(p.Status), "_", " ")})
	}
	return list
}

// Blocked are the permissions that deny something.
func (s pageSheet) Blocked() (list []handlers.SheetPermission) {
	for _, p := range s.Permissions {
		if p.Denies() {
			list = append(list, p)
		}
	}
	return list
}

type pageField struct {
	Name, Label, Example, Value string
	Required                    bool
}

// pageAnswer is what a preview came to, or why there was none.
type pageAnswer struct{ Problem, Class, Verdict, Reason, Code string }

func firstFields() []pageField {
	return []pageField{
		{Name: "action", Label: "Action", Example: "purchase", Required: true},
		{Name: "vendor", Label: "Vendor", Example: "shop.example.com"},
		{Name: "resource", Label: "Resource"},
		{Name: "amount", Label: "Amount", Example: "120.00"},
		{Name: "currency", Label: "Currency", Example: "USD"},
	}
}

func restFields() []pageField {
	return []pageField{
		{Name: "path", Label: "Path"},
		{Name: "command", Label: "Command"},
		{Name: "cwd", Label: "Working directory"},
		{Name: "branch", Label: "Branch"},
		{Name: "environment", Label: "Environment"},
		{Name: "repository", Label: "Repository"},
	}
}

// openPassport shows the passport of a link to whoever sends its token, by the
// script in a header or by the form in its body, and what a preview came to.
func (a *API) openPassport(w http.ResponseWriter, r *http.Request) {
	form, err := readForm(w, r)
	view := pageView{First: firstFields(), Rest: restFields()}
	if err == nil {
		err = a.passportPage(r, form, &view)
	}
	if err == nil {
		a.sendPage(w, r, http.StatusOK, view)
		return
	}
	f := handlers.FaultOf(err)
	if f.Status >= 500 {
		a.desk.Faults.Tell(r.Context(), "page", err)
	}
	if f.Retry > 0 {
		w.Header().Set("Retry-After", f.RetryAfter())
	}
	view = pageView{Title: "This link shows nothing", Problem: f.Message}
	switch {
	case f.Status == http.StatusUnauthorized || f.Status == http.StatusNotFound: // one answer to all that is not good
		f.Status, view.Problem = http.StatusUnauthorized, "It is wrong, has expired, or was revoked. Ask whoever gave it to you for another."
	case f.Status >= 500:
		view.Title, view.Problem = "The passport can't be read now", "Take nothing as allowed, and try again."
	case f.Status == http.StatusTooManyRequests:
		view.Title, view.Problem = "Too many requests", "Wait a moment, and try again."
	}
	a.sendPage(w, r, f.Status, view)
}

const mostForm = 48 << 10

// readForm takes the fields of the page's forms, each at most once, and no other.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	r.URL.RawQuery = "" // a token in a query would be in logs; it is not taken from one
	if err := r.ParseForm(); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, handlers.ErrTooLarge
		}
		return nil, domain.Reject(domain.Invalid, "the form could not be read")
	}
	known := map[string]bool{"token": true}
	for _, f := range append(firstFields(), restFields()...) {
		known[f.Name] = true
	}
	for name, values := range r.PostForm {
		if !known[name] || len(values) != 1 {
			return nil, domain.Reject(domain.Invalid, "the form has a field that is not known, or one twice")
		}
	}
	return r.PostForm, nil
}

func (a *API) passportPage(r *http.Request, form url.Values, view *pageView) error {
	authorization := r.Header.Get("Authorization")
	if token := strings.TrimSpace(form.Get("token")); authorization == "" && token != "" {
		token = token[strings.LastIndexByte(token, '#')+1:] // a whole address was pasted
		authorization, view.Token = "Bearer "+token, token
	}
	h, err := a.desk.AdmitHolder(r.Context(), addressOf(r), authorization)
	if err != nil {
		return err
	}
	if string(h.Link.ID) != r.PathValue("link") {
		return handlers.ErrLink
	}
	ask := form.Has("action")
	sheet, err := a.desk.SheetHeld(r.Context(), h, ask)
	if err != nil {
		return err
	}
	view.Sheet = &pageSheet{sheet}
	if !ask {
		return nil
	}
	for i := range view.First {
		view.First[i].Value = form.Get(view.First[i].Name)
	}
	for i := range view.Rest {
		view.Rest[i].Value = form.Get(view.Rest[i].Name)
		view.More = view.More || view.Rest[i].Value != ""
	}
	view.Asked, err = a.previewed(r, h, form)
	return err
}

// previewed asks what the form asks, as JSON, so that it is taken as strictly as
// everything else. What can't be taken is told beside the form.
func (a *API) previewed(r *http.Request, h handlers.Holder, form url.Values) (*pageAnswer, error) {
	ask, facts := map[string]any{}, map[string]any{}
	for name := range form {
		v := strings.TrimSpace(form.Get(name))
		switch {
		case v == "" || name == "token":
		case name == "branch" || name == "environment" || name == "repository":
			facts[name] = v
		default:
			ask[name] = v
		}
	}
	if len(facts) > 0 {
		ask["context"] = facts
	}
	body, err := handlers.Encode(ask)
	if err != nil {
		return &pageAnswer{Problem: "This could not be asked: it is not UTF-8."}, nil
	}
	view, err := a.desk.PreviewHeld(r.Context(), h, body)
	if rule, ok := errors.AsType[*domain.RuleError](err); ok && rule.Code == domain.Invalid {
		return &pageAnswer{Problem: strings.TrimPrefix(rule.Field+" ", "/") + rule.Message}, nil
	}
	if err != nil {
		return nil, err
	}
	answer := &pageAnswer{Class: "denied", Verdict: "It would be denied.", Reason: view.Reason, Code: string(view.ReasonCode)}
	switch view.WouldBe {
	case domain.OutcomeAllowed:
		answer.Class, answer.Verdict = "active", "It would be allowed."
	case domain.OutcomeRequiresApproval:
		answer.Class, answer.Verdict = "asks", "A person would be asked."
	case domain.OutcomeDenied:
	}
	return answer, nil
}

func (a *API) sendPage(w http.ResponseWriter, r *http.Request, status int, view pageView) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, view); err != nil {
		a.logs.ErrorContext(r.Context(), "render a passport", slog.Any("error", err))
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	pageHeader(h, "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

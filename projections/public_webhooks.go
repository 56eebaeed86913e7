package projections

import (
	"time"

	"github.com/behalf-platform/behalf/domain"
)

type (
	webhookData struct {
		aboutData
		WebhookID domain.EndpointID `json:"webhookId"`
	}
	// webhookSettingsData has the settings as whoever can't manage endpoints may
	// know them: no path or query of the address, and no headers.
	webhookSettingsData struct {
		webhookData
		domain.EndpointSettings
	}
	webhookVerifiedData struct {
		webhookData
		URL string `json:"url"`
	}
	webhookReasonData struct {
		webhookData
		Reason string `json:"reason,omitempty"`
	}
	webhookDisabledData struct {
		webhookData
		Code   domain.DisableCode `json:"code"`
		Reason string             `json:"reason,omitempty"`
	}
	webhookResumedData struct {
		webhookData
		From domain.ResumeFrom `json:"from"`
	}
	webhookRotatedData struct {
		webhookData
		SecretVersion int       `json:"secretVersion"`
		OverlapUntil  time.Time `json:"overlapUntil,omitzero"`
	}
	webhookReplayData struct {
		webhookData
		ReplayID domain.ReplayID `json:"replayId"`
		domain.ReplaySelection
		RatePerSecond int `json:"ratePerSecond"`
	}
	webhookReplayEndedData struct {
		webhookData
		ReplayID  domain.ReplayID `json:"replayId"`
		Delivered int             `json:"delivered,omitzero"`
		Failed    int             `json:"failed,omitzero"`
		Reason    string          `json:"reason,omitempty"`
	}
	webhookFailingData struct {
		webhookData
		Since  time.Time `json:"since"`
		Reason string    `json:"reason,omitempty"`
	}
	webhookSkippedData struct {
		webhookData
		From    uint64 `json:"from"`
		Through uint64 `json:"through"`
	}
)

func (p *publisher) webhookOf(id domain.EndpointID) webhookData { return webhookData{p.about(), id} }

// webhook adds an event of an endpoint.
func (p *publisher) webhook(t PublicType, id domain.EndpointID, data any) {
	made := len(p.made)
	p.say(t, data)
	if len(p.made) > made {
		p.made[made].Webhook = id
	}
}

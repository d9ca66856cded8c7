//! XML with a namespace and a prefix for some of it; date and hour in separate elements; places in attributes; CDATA and
//! entities; codes; entity tags. French, local time of Paris, newest first.

use super::{Answer, Ask, Media, Place, Profile, Shape, View, Words, markup, place};
use crate::{journey::Happening, ledger::Shown};

pub(super) struct EmberMessagerie;

const PLACES: &[Place] = &[
    place("Châteauroux", "FR", "Europe/Paris"),
    place("L'Haÿ-les-Roses", "FR", "Europe/Paris"),
    place("Saint-Étienne", "FR", "Europe/Paris"),
    place("Dole", "FR", "Europe/Paris"),
    place("Liège", "BE", "Europe/Brussels"),
    place("Casablanca", "MA", "Africa/Casablanca"),
];

const WORDS: Words = [
    ("ANN", ["Colis annoncé par l'expéditeur", "Étiquette créée"]),
    ("PRC", ["Colis pris en charge", "Remis par l'expéditeur"]),
    ("ARR", ["Arrivé en agence", "Colis trié à l'agence"]),
    ("DEP", ["Parti de l'agence", "En cours d'acheminement"]),
    ("EXP", ["A quitté le pays d'origine", "Départ du pays d'origine"]),
    ("IMP", ["Arrivé dans le pays de destination", "Entrée dans le pays de destination"]),
    ("DOU", ["En cours de dédouanement", "Présenté à la douane"]),
    ("DLI", ["Dédouanement terminé", "Libéré par la douane"]),
    ("DIN", ["Douane : document manquant", "Bloqué en douane, pièces à fournir"]),
    ("RET", ["Livraison retardée", "Retard dû aux intempéries"]),
    ("LIV", ["En cours de livraison", "Chargé dans le véhicule du livreur"]),
    ("ABS", ["Destinataire absent", "Absent : avis de passage déposé"]),
    ("ADR", ["Adresse erronée", "Adresse incomplète"]),
    ("REL", ["Disponible en point relais", "À retirer au point relais"]),
    ("LVR", ["Livré", "Livré <contre signature> & tampon"]),
    ("REF", ["Refusé par le destinataire", "Colis refusé"]),
    ("RTE", ["Retour à l'expéditeur en cours", "Réexpédié vers l'expéditeur"]),
    ("RTF", ["Retourné à l'expéditeur", "Retour livré à l'expéditeur"]),
    ("PER", ["Colis perdu", "Perte constatée"]),
];

static PROFILE: Profile = Profile {
    slug: "ember-messagerie",
    rate: 12.0,
    requests_per_look: 1,
    media: Media::Xml,
    zone: "Europe/Paris",
    places: PLACES,
    home: 4,
    words: &WORDS,
};

impl Shape for EmberMessagerie {
    fn profile(&self) -> &'static Profile {
        &PROFILE
    }

    fn number(&self, serial: u64) -> String {
        format!("EM{:011}FR", serial * 11)
    }

    fn shown(&self, happening: &Happening) -> Option<Shown> {
        let time_raw = PROFILE.local(happening.at_ms).strftime("%d/%m/%Y %Hh%M").to_string();
        Some(Shown { code: Some(PROFILE.code(happening).to_owned()), ..PROFILE.shown(happening, time_raw) })
    }

    fn answer(&self, ask: &Ask, view: &View<'_>) -> Option<Answer> {
        let answer = || Answer::new("application/xml; charset=utf-8", document(view), view.kind()).tagged();
        (ask.step == "page").then(answer)
    }
}

fn document(view: &View<'_>) -> String {
    let head =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<suivi xmlns=\"urn:ember:suivi:2\" xmlns:g=\"urn:ember:geo:1\">\n";
    if !view.known {
        return format!("{head}  <erreur code=\"404\">Colis inconnu</erreur>\n</suivi>\n");
    }
    let mut out = format!("{head}  <colis numero=\"{}\">\n    <evenements>\n", view.number);
    for row in view.rows.iter().rev() {
        let (date, hour) = row.shown.time_raw.split_once(' ').unwrap_or_default();
        let place = PROFILE.place(&row.happening).map_or_else(String::new, |place| {
            format!("<g:lieu ville=\"{}\" pays=\"{}\"/>", markup::escape(place.name), place.country)
        });
        let text = if row.happening.wording == 0 {
            markup::escape(&row.shown.text)
        } else {
            format!("<![CDATA[{}]]>", row.shown.text)
        };
        out.push_str(&format!(
            "      <evenement code=\"{}\"><date>{date}</date><heure>{hour}</heure><libelle>{text}</libelle>{place}</evenement>\n",
            row.shown.code.as_deref().unwrap_or_default()
        ));
    }
    out.push_str("    </evenements>\n  </colis>\n</suivi>\n");
    out
}

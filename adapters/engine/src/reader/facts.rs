//! What an answer says outside its tables: headline, estimated delivery, countries, partners.

use waybill_schemas::{
    event::{EstimatedDelivery, Leg, ShipmentFacts},
    limits::MAX_TEXT_BYTES,
};

use super::Shared;
use crate::{
    countries,
    error::Fault,
    field::{Field, Place},
    spec::{FactsSpec, Midnight, Shape, TimesSpec},
    times::{Shown, Times},
};

#[derive(Debug, Default)]
pub(super) struct Facts {
    status: Option<Field>,
    status_code: Option<Field>,
    eta: Option<Eta>,
    origin: Option<Field>,
    destination: Option<Field>,
    service: Option<Field>,
    weight: Option<Field>,
    legs: Vec<(Field, Field)>,
    private: Vec<(String, Field)>,
}

#[derive(Debug)]
pub(super) struct Eta {
    from: Field,
    to: Option<Field>,
    times: Times,
}

impl Facts {
    pub(super) fn compile(shape: Shape, spec: &FactsSpec, shared: &Shared<'_>) -> Result<Self, Fault> {
        let field = |spec: &Option<_>| Field::compile_optional(shape, spec.as_ref());
        let eta = spec.eta.as_ref().map(|eta| {
            let times = TimesSpec {
                formats: eta.formats.clone(),
                zone: Some("unknown".to_owned()),
                midnight: Midnight::Date,
                languages: eta.languages.clone(),
                year: eta.year,
                calendar: eta.calendar,
                ..TimesSpec::default()
            };
            Ok::<_, Fault>(Eta {
                from: Field::compile(shape, &eta.from)?,
                to: Field::compile_optional(shape, eta.to.as_ref())?,
                times: Times::compile(&[&times], None, shared.languages)?,
            })
        });
        let legs =
            spec.legs.iter().map(|leg| Ok((Field::compile(shape, &leg.carrier)?, Field::compile(shape, &leg.number)?)));
        let private = spec.private.iter().map(|(name, field)| Ok((name.clone(), Field::compile(shape, field)?)));
        Ok(Self {
            status: field(&spec.status)?,
            status_code: field(&spec.status_code)?,
            eta: eta.transpose()?,
            origin: field(&spec.origin)?,
            destination: field(&spec.destination)?,
            service: field(&spec.service)?,
            weight: field(&spec.weight)?,
            legs: legs.collect::<Result<_, Fault>>()?,
            private: private.collect::<Result<_, Fault>>()?,
        })
    }

    pub(super) fn read(&self, place: &Place<'_, '_>) -> ShipmentFacts {
        let text_of = |field: &Field| field.read(place).filter(|text| text.len() <= MAX_TEXT_BYTES);
        let text = |field: &Option<Field>| field.as_ref().and_then(text_of);
        let country = |field: &Option<Field>| text(field).as_deref().and_then(countries::code_of).map(str::to_owned);
        let legs = self.legs.iter().filter_map(|(carrier, number)| {
            Some(Leg { carrier: carrier.read(place)?, number: number.read(place)?.trim().to_owned() })
        });
        // Who receives or signs is nobody's business unless the operator says so.
        let private = self.private.iter().filter(|(name, _)| place.reading.private.contains(name));
        let private = private.filter_map(|(name, field)| Some((name.clone(), text_of(field)?)));
        ShipmentFacts {
            status_text: text(&self.status),
            status_code: text(&self.status_code),
            estimated_delivery: self.eta.as_ref().and_then(|eta| eta.read(place)),
            origin: country(&self.origin),
            destination: country(&self.destination),
            service: text(&self.service),
            weight: text(&self.weight),
            legs: legs.collect(),
            private: private.collect(),
        }
    }
}

impl Eta {
    pub(super) fn read(&self, place: &Place<'_, '_>) -> Option<EstimatedDelivery> {
        let iso = |field: &Field| {
            let shown = field.read(place)?;
            let shown = Shown { time: &shown, seen_at: place.reading.seen_at, ahead: true, ..Shown::default() };
            self.times.read(shown).map(|time| time.iso)
        };
        let from = iso(&self.from)?;
        let to = self.to.as_ref().and_then(iso).unwrap_or_else(|| from.clone());
        Some(EstimatedDelivery { from, to, source: "carrier".to_owned() })
    }
}

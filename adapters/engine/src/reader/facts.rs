//! What an answer says outside its tables: headline, estimated delivery, countries, partners.

use waybill_schemas::{
    event::{EstimatedDelivery, Leg, ShipmentFacts},
    limits::MAX_TEXT_BYTES,
};

use super::Shared;
use crate::{
    countries,
    error::Faults,
    field::{Field, Place},
    spec::{EtaSpec, FactsSpec, FieldSpec, LegSpec, Midnight, Shape, TimesSpec},
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
    pub(super) fn compile(shape: Shape, spec: &FactsSpec, shared: &Shared<'_>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let field = |spec: &Option<_>| Field::compile_optional(shape, spec.as_ref());
        let leg = |leg: &LegSpec| {
            let mut faults = Faults::default();
            let carrier = faults.keep(Field::compile(shape, &leg.carrier));
            let number = faults.keep(Field::compile(shape, &leg.number));
            carrier.zip(number).ok_or(faults)
        };
        let private =
            |(name, field): (&String, &FieldSpec)| Ok::<_, Faults>((name.clone(), Field::compile(shape, field)?));
        let made = (
            faults.keep(field(&spec.status)),
            faults.keep(field(&spec.status_code)),
            faults.keep_optional(spec.eta.as_ref().map(|eta| Eta::compile(shape, eta, shared))),
            faults.keep(field(&spec.origin)),
            faults.keep(field(&spec.destination)),
            faults.keep(field(&spec.service)),
            faults.keep(field(&spec.weight)),
            faults.keep_all(spec.legs.iter().map(leg)),
            faults.keep_all(spec.private.iter().map(private)),
        );
        let (
            Some(status),
            Some(status_code),
            Some(eta),
            Some(origin),
            Some(destination),
            Some(service),
            Some(weight),
            Some(legs),
            Some(private),
        ) = made
        else {
            return Err(faults);
        };
        Ok(Self { status, status_code, eta, origin, destination, service, weight, legs, private })
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
    fn compile(shape: Shape, spec: &EtaSpec, shared: &Shared<'_>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let times = TimesSpec {
            formats: spec.formats.clone(),
            zone: Some("unknown".to_owned()),
            midnight: Midnight::Date,
            languages: spec.languages.clone(),
            year: spec.year,
            calendar: spec.calendar,
            ..TimesSpec::default()
        };
        let made = (
            faults.keep(Field::compile(shape, &spec.from)),
            faults.keep(Field::compile_optional(shape, spec.to.as_ref())),
            faults.keep(Times::compile(&[&times], None, shared.languages)),
        );
        let (Some(from), Some(to), Some(times)) = made else { return Err(faults) };
        Ok(Self { from, to, times })
    }

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
